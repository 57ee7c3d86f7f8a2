-- A table that weir.toml does not list: it lives on the home shard alone.
CREATE TABLE settings_unlisted (
  name  text PRIMARY KEY,
  value text
);
INSERT INTO settings_unlisted VALUES ('theme', 'river'), ('language', 'en');
