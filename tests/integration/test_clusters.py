"""The harness itself: what every other test stands on."""
import os

import harness


def test_a_replica_has_what_its_primary_wrote_and_comes_back_after_a_kill(plain_clusters):
    plain_clusters.psql("create table t as select 42 as a")
    plain_clusters.await_replication()
    assert plain_clusters.psql("select a, pg_is_in_recovery() from t", node=0) == "42|t"
    plain_clusters.kill(node=0)
    assert plain_clusters.psql("select 1", node=0, check=False).returncode != 0
    plain_clusters.restart(node=0)
    plain_clusters.psql("insert into t values (43)")
    plain_clusters.await_replication()
    assert plain_clusters.psql("select max(a) from t", node=0) == "43"


def test_a_commit_survives_kill_9_of_the_primary(plain_clusters):
    plain_clusters.psql("create table kept as select generate_series(1, 1000) as a")
    plain_clusters.kill()
    plain_clusters.restart()
    assert plain_clusters.psql("select count(*) from kept") == "1000"


def test_clusters_stop_without_a_trace():
    clusters = harness.Clusters("--shards", "2")
    harness.create_demo_schema(clusters)
    assert clusters.everywhere("select count(*) from works") == ["0", "0"]
    assert clusters.psql("select to_regclass('settings_unlisted') is null", shard=1) == "t"
    nodes = [shard["primary"] for shard in clusters.shards]
    clusters.stop()
    for node in nodes:
        assert harness.psql(f"host={node['host']} port={node['port']} user=postgres dbname=app", "select 1", check=False).returncode != 0
        assert not os.path.exists(node["data"])
        assert not os.path.exists(node["socket_dir"])


def test_months_name_their_partitions():
    assert harness.month_partitions(["202412"]).count("'2024-12-01 00:00+00') TO ('2025-01-01 00:00+00')") == 1
    assert harness.weir_toml.bucket_share(3, 4) == "3072-4095"
