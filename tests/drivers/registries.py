"""The drivers' releases of PyPI, npm, the Go module proxy and Maven Central, pinned in requirements.txt, package-lock.json,
go.sum and pom.xml; libpqxx is Debian's."""
import os
import shutil
import subprocess

import debian

PROGRAMS = {**debian.PROGRAMS}


def install(here, private, wanted):
    """{driver: command}; installs what is missing into `private`."""
    drivers = {}
    if any(wanted(name) for name in PROGRAMS):
        python = virtual_environment(here, private)
        drivers = {name: [python, "-B", here / f"{module}_program.py"] for name, module in PROGRAMS.items() if wanted(name)}
    for name, build in {"node-pg": node, "pgx": go, "pgjdbc": java, "libpqxx": debian.libpqxx}.items():
        if wanted(name):
            command = build(here, private)
            drivers[name] = command if isinstance(command, list) else [command]
    return drivers


def run(*command, **more):
    subprocess.run(list(map(str, command)), check=True, stdin=subprocess.DEVNULL, **more)


def virtual_environment(here, private):
    folder = private / "venv"
    if not (folder / "bin/pip").exists():
        run("python3", "-m", "venv", folder)
    run(folder / "bin/pip", "install", "-q", "--disable-pip-version-check", "-r", here / "requirements.txt")
    return folder / "bin/python3"


def node(here, private):
    folder = copied(private / "node", here, "package.json", "package-lock.json", "node_pg_program.js")
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)
    return ["node", folder / "node_pg_program.js"]


def go(here, private):
    folder = copied(private / "go", here, "go.mod", "go.sum", "pgx_program.go")
    run("go", "build", "-o", "pgx_program", ".", cwd=folder, env={**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"})
    return [folder / "pgx_program"]


def java(here, private):
    folder = copied(private / "java", here, "pom.xml", "PgjdbcProgram.java")
    run("mvn", "-q", "-B", "-f", folder / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars")
    classpath = f"{folder}/jars/*:{folder}"
    run("javac", "-Xlint:all", "-cp", classpath, "-d", folder, folder / "PgjdbcProgram.java")
    return ["java", "-cp", classpath, "PgjdbcProgram"]


def copied(folder, here, *names):
    """`folder` with the named files of this one: package managers write beside their manifests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(here / name, folder)
    return folder
