\set user random(1, :users)
SELECT id, name, email FROM users WHERE id = :user;
