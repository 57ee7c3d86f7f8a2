ALTER TABLE customers ADD COLUMN email text;
ALTER TABLE orders RENAME COLUMN item TO product;
ALTER TABLE orders ALTER COLUMN amount SET DEFAULT 0;
INSERT INTO countries VALUES ('DE', 'Germany'), ('KE', 'Kenya');
INSERT INTO customers (id, name, country)
VALUES (1, 'c1', 'DE'), (2, 'c2', 'DE'), (3, 'c3', 'KE'), (4, 'c4', 'KE'), (5, 'c5', NULL), (6, 'c6', NULL), (7, 'c7', 'DE'), (8, 'c8', 'DE');
UPDATE customers SET email = name || '@example.com';
INSERT INTO orders (customer_id, id, product, amount) SELECT id, 1, 'lamp', 10 FROM customers;
DELETE FROM customers WHERE name = 'c8';
INSERT INTO settings (name) VALUES ('theme');
ALTER TABLE customers ALTER COLUMN email SET NOT NULL;
