CREATE TABLE countries (code varchar(2) PRIMARY KEY, name text NOT NULL);
CREATE TABLE customers (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  country varchar(2) REFERENCES countries
);
CREATE TABLE orders (
  customer_id bigint NOT NULL REFERENCES customers ON DELETE CASCADE,
  id bigint NOT NULL,
  item text NOT NULL,
  amount numeric(12, 2) NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (customer_id, id)
);
CREATE INDEX orders_by_item ON orders (item);
CREATE TABLE settings (id serial PRIMARY KEY, name text UNIQUE);
COMMENT ON TABLE customers IS 'who buys';
