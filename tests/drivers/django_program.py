"""Django: migrate of one app (shop/) and its objects, over the psycopg that this release of Django prefers."""
import datetime
import urllib.parse

import django
from django.conf import settings
from django.core.management import call_command

import report
from report import KEY, SCRAM, TRUST, expect, expect_error


def database(url, **options):
    parts = urllib.parse.urlsplit(url)
    return {"ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], "USER": parts.username, "PASSWORD": parts.password or "",
            "HOST": parts.hostname, "PORT": parts.port, "CONN_MAX_AGE": None, "OPTIONS": options}


settings.configure(DATABASES={"default": database(TRUST), "scram": database(SCRAM, sslmode="disable"), "tls": database(SCRAM, sslmode="require")},
                   INSTALLED_APPS=["shop"], USE_TZ=True, TIME_ZONE="UTC")
django.setup()

from django.db import IntegrityError, close_old_connections, connection, connections, transaction as transactions  # noqa: E402: after setup
from shop.models import Blob, Customer  # noqa: E402: after setup


def version():
    return f"{django.__version__} (psycopg {connection.Database.__version__.split()[0]})"


def one(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        expect(cursor.fetchone(), (1,))


def connect_trust():
    one("default")


def connect_scram():
    one("scram")


def tls():
    one("tls")


def orm_schema():
    call_command("migrate", "shop", verbosity=0)


def orm_rows():
    joined = datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.timezone.utc)
    Customer.objects.create(id=KEY, name="Ann", data={"tags": ["a", None]}, joined=joined)
    found = Customer.objects.get(id=KEY)
    expect((found.name, found.data, found.joined), ("Ann", {"tags": ["a", None]}, joined))
    found.name = "Anne"
    found.save()
    expect(list(Customer.objects.filter(id=KEY).values_list("name", flat=True)), ["Anne"])
    expect(Customer.objects.filter(id=KEY).update(data={}), 1)
    found.delete()
    expect(Customer.objects.filter(id=KEY).exists(), False)
    expect(Customer.objects.get_or_create(id=KEY, defaults={"name": "one", "data": {}, "joined": joined})[1], True)


def prepared():
    """A connection for each thread, a transaction for each question."""
    def client(_):
        for _ in range(report.TRANSACTIONS):
            with transactions.atomic():
                expect(Customer.objects.get(id=KEY).name, "one")
        connection.close()

    report.on_threads(client)


def transaction():
    with transactions.atomic():
        try:
            with transactions.atomic():
                Customer.objects.filter(id=KEY).update(name="undone")
                raise KeyError
        except KeyError:
            pass
        expect(Customer.objects.select_for_update().get(id=KEY).name, "one")


def large_result():
    """iterator() reads through a WITH HOLD cursor on the server."""
    found = Blob.objects.filter(user_id=7).order_by("id").iterator(chunk_size=500)
    expect(sum(len(row.body) for row in found), report.BLOB_ROWS * report.BLOB_BYTES)


def error_recovery():
    def again():
        with transactions.atomic():
            Customer.objects.create(id=KEY, name="again", data={}, joined=datetime.datetime.now(datetime.timezone.utc))

    expect_error("23505", IntegrityError, again)
    expect(Customer.objects.get(id=KEY).name, "one")


def no_key():
    expect([c.id for c in Customer.objects.filter(name="one")], [KEY])


def server_restart():
    expect(Customer.objects.get(id=KEY).name, "one")
    report.ask_for_restart()
    close_old_connections()
    expect(Customer.objects.get(id=KEY).name, "one")


report.run([version, connect_trust, connect_scram, tls, orm_schema, orm_rows, prepared, transaction, large_result, error_recovery, no_key,
            server_restart])
