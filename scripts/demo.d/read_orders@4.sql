\set user random(1, :users)
SELECT u.name, o.id, o.product, o.amount FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = :user ORDER BY o.id DESC LIMIT 20;
