"""SQLAlchemy: create_all and a session's objects, over psycopg 3 where this release knows it, else over psycopg2."""
import datetime

import sqlalchemy
from sqlalchemy import BigInteger, Column, DateTime, Text, create_engine, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import NullPool

import report
from report import KEY, SCRAM, TRUST, expect, expect_error

DIALECT = "postgresql+psycopg" if sqlalchemy.__version__ >= "2" else "postgresql+psycopg2"
Base = declarative_base()


class Customer(Base):
    __tablename__ = "customers_sqlalchemy"
    id = Column(BigInteger, primary_key=True, autoincrement=False)
    name = Column(Text, nullable=False)
    data = Column(JSONB)
    joined = Column(DateTime(timezone=True))


def engine(url=TRUST, **options):
    return create_engine(url.replace("postgresql", DIALECT, 1), **options)


ENGINE = engine(pool_size=report.CLIENTS)


def version():
    return f"{sqlalchemy.__version__} ({DIALECT})"


def connect_trust():
    with ENGINE.connect() as connection:
        expect(connection.execute(text("SELECT 1")).scalar(), 1)


def connect_scram():
    with engine(SCRAM + "?sslmode=disable", poolclass=NullPool).connect() as connection:
        expect(connection.execute(text("SELECT 1")).scalar(), 1)


def tls():
    with engine(SCRAM + "?sslmode=require", poolclass=NullPool).connect() as connection:
        expect(connection.execute(text("SELECT 1")).scalar(), 1)


def orm_schema():
    Base.metadata.create_all(ENGINE, checkfirst=False)


def orm_rows():
    joined = datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.timezone.utc)
    with Session(ENGINE) as session:
        session.add(Customer(id=KEY, name="Ann", data={"tags": ["a", None]}, joined=joined))
        session.commit()
    with Session(ENGINE) as session:
        found = session.get(Customer, KEY)
        expect((found.name, found.data, found.joined), ("Ann", {"tags": ["a", None]}, joined))
        found.name = "Anne"
        session.commit()
        expect(session.scalars(select(Customer.name).where(Customer.id == KEY)).all(), ["Anne"])
        session.delete(found)
        session.flush()
        session.rollback()
    with Session(ENGINE) as session:
        session.delete(session.get(Customer, KEY))
        session.commit()
        expect(session.get(Customer, KEY), None)
        session.add(Customer(id=KEY, name="one"))
        session.commit()


def prepared():
    def client(i):
        for _ in range(report.TRANSACTIONS):
            with Session(ENGINE) as session:
                expect(session.execute(select(Customer.name, sqlalchemy.literal_column(str(i))).where(Customer.id == KEY)).all(), [("one", i)])
                session.commit()

    report.on_threads(client)


def transaction():
    with Session(ENGINE) as session:
        customer = session.get(Customer, KEY)
        with session.begin_nested() as savepoint:
            customer.name = "undone"
            session.flush()
            savepoint.rollback()
        session.commit()
        expect(session.get(Customer, KEY).name, "one")


def error_recovery():
    with Session(ENGINE) as session:
        session.add(Customer(id=KEY, name="again"))
        expect_error("23505", IntegrityError, session.commit)
        session.rollback()
        expect(session.get(Customer, KEY).name, "one")


def large_result():
    with ENGINE.connect().execution_options(yield_per=500) as connection:
        found = connection.execute(text("SELECT body FROM blobs WHERE user_id = :key ORDER BY id"), {"key": 7})
        expect(sum(len(body) for body, in found), report.BLOB_ROWS * report.BLOB_BYTES)


def no_key():
    with Session(ENGINE) as session:
        expect(session.scalars(select(Customer.id).where(Customer.name == "one")).all(), [KEY])


def server_restart():
    with Session(ENGINE) as session:
        expect(session.get(Customer, KEY).name, "one")
        session.commit()
        report.ask_for_restart()
        expect(session.get(Customer, KEY).name, "one")


report.run([version, connect_trust, connect_scram, tls, orm_schema, orm_rows, prepared, transaction, large_result, error_recovery, no_key,
            server_restart])
