-- The demo's tables, the same on every shard. The integration tests use them too.
CREATE TABLE users (
  id         bigint PRIMARY KEY,
  name       text NOT NULL,
  email      text,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE orders (
  id         bigint NOT NULL,
  user_id    bigint NOT NULL,
  product    text NOT NULL,
  amount     numeric(12, 2) NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, id)
);

CREATE TABLE works (
  user_id    bigint NOT NULL,
  id         bigint NOT NULL,
  created_at timestamptz NOT NULL,
  title      text NOT NULL,
  PRIMARY KEY (user_id, id, created_at)
) PARTITION BY RANGE (created_at);

CREATE TABLE countries (
  code text PRIMARY KEY,
  name text NOT NULL
);
INSERT INTO countries VALUES
  ('BR', 'Brazil'), ('CN', 'China'), ('DE', 'Germany'), ('IN', 'India'), ('JP', 'Japan'), ('KE', 'Kenya'), ('US', 'United States');
