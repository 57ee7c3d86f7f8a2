"""What the Python programs share: they run the features in order and print one line for each.

`<feature> ok [note]`, `<feature> refused 0A000 <message>`, `<feature> n/a <why>` (the driver has no such thing) or
`<feature> FAILED <message>`. A program is called with the URL that trusts, the URL that asks alice for a password (and
offers TLS), and the key that all its rows have.
"""
import sys
import threading
import urllib.parse

CLIENTS = 8
TRANSACTIONS = 40
BLOB_ROWS = 10000
BLOB_BYTES = 1000

TRUST, SCRAM, KEY = sys.argv[1], sys.argv[2], int(sys.argv[3])


class NotInDriver(Exception):
    """The driver offers no way to ask for this."""


def with_options(url, **options):
    return url + ("&" if "?" in url else "?") + urllib.parse.urlencode(options)


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"expected {wanted!r}, got {found!r}"[:300])


def sqlstate(error):
    """The SQLSTATE that `error`, or what it wraps, carries."""
    seen = []
    while error is not None and error not in seen:
        for name in ("sqlstate", "pgcode"):
            if getattr(error, name, None):
                return getattr(error, name)
        seen.append(error)
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return None


def expect_error(code, kind, act):
    """`act` must fail with `code`."""
    try:
        act()
    except kind as error:
        expect(sqlstate(error), code)
        return
    raise AssertionError(f"no error {code}")


def on_threads(act):
    """act(0) ... act(CLIENTS - 1) at the same time; the first error of any is raised."""
    errors = []

    def guarded(i):
        try:
            act(i)
        except Exception as error:  # noqa: BLE001: handed to the caller
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def ask_for_restart():
    """The runner restarts the PostgreSQL servers (not Weir) and answers."""
    print("restart?", flush=True)
    expect(sys.stdin.readline().strip(), "restarted")


def line(feature, act):
    try:
        return f"{feature} ok {act() or ''}".rstrip()
    except NotInDriver as reason:
        return f"{feature} n/a {reason}"
    except Exception as error:  # noqa: BLE001: every failure is a cell of the matrix
        code = sqlstate(error)
        message = " ".join(str(error).split())[:300]
        if code == "0A000":
            return f"{feature} refused 0A000 {message}"
        return f"{feature} FAILED {code or type(error).__name__} {message}"


def run(features):
    """`features`: functions, each named after its feature."""
    for act in features:
        print(line(act.__name__, act), flush=True)
