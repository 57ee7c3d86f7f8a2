"""Session settings on a sharded database: every shard gets them, with the transaction that was held back."""
from wire_client import WireClient

# --- the held BEGIN and the session's settings, in one packet ---


def test_a_begin_with_options_and_the_settings_come_with_the_first_statement(weir, clusters):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("set app.tenant = 'one'")
        for begin in ("begin isolation level repeatable read read only", "start transaction isolation level serializable", "BEGIN"):
            assert [m.kind for m in one.query(begin)] == ["C", "Z"]
            found = one.query("select current_setting('app.tenant'), current_setting('transaction_read_only') from orders where user_id = 1 "
                              "union all select current_setting('app.tenant'), current_setting('transaction_isolation') limit 1")
            assert found.status == "T" and "N" not in found.kinds, found
            level = one.value("show transaction_isolation")
            assert level == ("repeatable read" if "repeatable" in begin else "serializable" if "serializable" in begin else "read committed")
            assert one.query("commit").tags == ["COMMIT"]
            other.query("select 1")


def test_a_held_transaction_whose_settings_fail_runs_nothing(weir, clusters):
    for i in range(len(clusters.shards)):
        clusters.psql("create role vanishing; grant all on orders to vanishing", shard=i)
    with WireClient(weir.port) as one:
        one.query("set role vanishing")
        for i in range(len(clusters.shards)):
            clusters.psql("drop owned by vanishing; drop role vanishing", shard=i)
        for key in range(1, 9):
            assert one.query("begin").status == "T"
            found = one.query(f"insert into orders (user_id, id, product, amount) values ({key}, 424242, 'x', 1)")
            assert found.errors and found.status == "E", found
            assert one.query("commit").tags == ["ROLLBACK"]
    assert all(n == "0" for n in clusters.everywhere("select count(*) from orders where id = 424242"))
