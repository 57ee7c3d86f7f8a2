"""systemd's units and the Dockerfile: what can be said of them without systemd and docker running."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness

PACKAGING = harness.ROOT / "packaging"


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    programs = os.path.dirname(harness.binary("weir"))
    for source, target in (("weir.service.in", "weir.service"), ("weir.socket", "weir.socket"), ("handover.conf.in", "weir.service.d/handover.conf")):
        text = (PACKAGING / "systemd" / source).read_text()
        text = text.replace("@CMAKE_INSTALL_FULL_BINDIR@", programs).replace("@CMAKE_INSTALL_FULL_DOCDIR@", str(tmp_path))
        assert "@CMAKE" not in text
        (tmp_path / target).parent.mkdir(exist_ok=True)
        (tmp_path / target).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "weir.service", tmp_path / "weir.socket"], text=True, capture_output=True)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "weir" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_dockerfile_copies_what_there_is_and_ends_as_nobody_special():
    text = (PACKAGING / "docker/Dockerfile").read_text()
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line and not line.startswith("#")]
    assert {line.split()[0] for line in lines} <= {"FROM", "COPY", "RUN", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    for line in lines:
        words = line.split()
        if words[0] == "COPY" and not words[1].startswith("--from"):
            assert (harness.ROOT / words[1]).exists(), line
    assert [line for line in lines if line.startswith("USER")] == ["USER weir"]
    assert lines.index("USER weir") > max(i for i, line in enumerate(lines) if line.startswith("RUN"))


def test_the_dockerfile_installs_every_library_the_programs_need():
    if not shutil.which("dpkg-query"):
        pytest.skip("not Debian")
    if harness.sanitizer():
        pytest.skip("a sanitizer's build needs libraries that no package of ours does")
    text = pathlib.Path(PACKAGING / "docker/Dockerfile").read_text()
    runtime = set(re.search(r"no-install-recommends ca-certificates (.*?) \\", text)[1].split())
    base = {"libc6", "libgcc-s1", "libstdc++6"}   # of debian:12-slim, or of what is installed
    assert "tzdata" in runtime, "months are read in a time zone (schema/time_zone.cpp)"
    for program in ("weir", "weirctl"):
        needed = subprocess.run(["objdump", "-p", harness.binary(program)], text=True, capture_output=True, check=True).stdout
        paths = dict(re.findall(r"(\S+) => (\S+)", subprocess.run(["ldd", harness.binary(program)], text=True, capture_output=True).stdout))
        for library in re.findall(r"NEEDED\s+(\S+)", needed):
            path = os.path.realpath(paths.get(library, f"/lib64/{library}"))
            if "ld-linux" in library:
                continue
            owner = subprocess.run(["dpkg-query", "-S", f"*/{os.path.basename(path)}"], text=True, capture_output=True).stdout
            owners = {line.split(":")[0] for line in owner.splitlines()}
            assert owners & (runtime | base), f"{program} needs {library} of {owners}"
