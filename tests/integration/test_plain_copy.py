"""COPY FROM STDIN that fails while data for it is still on its way: nothing of it may meet what the server is asked next."""
import pytest

import harness
from wire_client import WireClient, message, query

LINE = message("d", b"x" * 1018 + b"\n")   # 1024 bytes: whole messages fill every buffer


@pytest.fixture(scope="module")
def one_server(plain_clusters):
    """One server connection, by a unix socket: its buffers are small. Every row is refused after a while, in which they fill."""
    plain_clusters.psql("create table slow (v text); create function refuse() returns trigger language plpgsql as "
                        "$$ begin perform pg_sleep(0.2); raise exception 'refused'; end $$; "
                        "create trigger refuse before insert on slow for each row execute function refuse()")
    folder = plain_clusters.psql("show unix_socket_directories")
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False)
    host = f"host={plain_clusters.node()['host']} "
    assert host in database
    with harness.running([database.replace(host, f"host={folder} ")], pool={"size": 1}) as weir:
        yield weir
        plain_clusters.psql("drop table slow; drop function refuse()")


@pytest.mark.parametrize("kilobytes", range(128, 512, 24))
@pytest.mark.parametrize("stays", [True, False], ids=["the client stays", "the client goes"])
def test_what_is_left_of_a_failed_copy_reaches_nobody_else(one_server, kilobytes, stays):
    with WireClient(one_server.port) as other, WireClient(one_server.port) as loader:
        loader.send(query("copy slow from stdin"))
        loader.read_until("G")
        for _ in range(kilobytes):
            loader.send(LINE)
        if stays:
            assert loader.read_to_ready().errors == ["P0001"]
        else:
            loader.read_until("E")
            loader.socket.close()
        assert [other.value("select 42") for _ in range(3)] == ["42"] * 3
        assert not stays or loader.value("select 43") == "43"
