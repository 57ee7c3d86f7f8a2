\set user random(1, :users)
\set order random(1000000, 9000000000000)
\set amount random(1, 500)
BEGIN;
SELECT name FROM users WHERE id = :user FOR SHARE;
INSERT INTO orders (id, user_id, product, amount) VALUES (:order, :user, 'lamp', :amount);
COMMIT;
