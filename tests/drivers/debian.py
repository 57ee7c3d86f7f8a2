"""The drivers that Debian 12 packages and scripts/install-deps installs."""
import subprocess

PYTHON = ["/usr/bin/python3", "-B"]
PROGRAMS = {"psycopg2": "psycopg2", "psycopg 3": "psycopg", "asyncpg": "asyncpg", "SQLAlchemy": "sqlalchemy", "Django": "django"}


def install(here, private, wanted):
    """{driver: command}; compiles the program of libpqxx."""
    drivers = {name: [*PYTHON, here / f"{module}_program.py"] for name, module in PROGRAMS.items() if wanted(name)}
    if wanted("libpqxx"):
        drivers["libpqxx"] = [libpqxx(here, private)]
    return drivers


def libpqxx(here, private):
    program = private / "libpqxx_program"
    source = here / "libpqxx_program.cpp"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-deprecated-declarations", str(source), "-o", str(program),
                        "-lpqxx", "-lpq", "-lpthread"], check=True)
    return program
