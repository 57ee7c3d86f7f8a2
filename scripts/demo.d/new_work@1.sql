\set user random(1, :users)
\set work random(1000000, 9000000000000)
INSERT INTO works (user_id, id, created_at, title) VALUES (:user, :work, now(), 'a work');
