"""What a user who made a mistake is told: exit status 1 and a sentence that names the thing, soon."""

from harness.daemon import Application, Daemon
from harness.processes import KINETIDE, Process, clean_environment

SOON_SECONDS = 30


def test_the_properties_file_is_missing(folder):
    process = Process(folder, [KINETIDE, "run", "no-such.properties"], clean_environment(), cwd=folder)
    assert process.wait(SOON_SECONDS, "the daemon to refuse") == 1
    [sentence] = process.stderr_log.read_text().splitlines()
    assert "no-such.properties" in sentence
    assert process.stdout_log.read_text() == ""


def test_the_properties_file_names_no_executable(folder, endpoint):
    application = Application("orders-nobody", folder, executable="", language="none")
    properties = application.properties()
    del properties["executableName"]
    with Daemon.start(folder / "daemon", application, properties, endpoint.variables) as daemon:
        assert daemon.process.wait(SOON_SECONDS, "the daemon to refuse") == 1
        [sentence] = daemon.process.stderr_log.read_text().splitlines()
    assert "executableName" in sentence


def test_the_executable_is_missing(folder, endpoint):
    application = Application("orders-missing", folder, executable="no-such-program --flag", language="none")
    endpoint.put_numbers(10)
    with Daemon.start(folder / "daemon", application, application.properties(), endpoint.variables) as daemon:
        assert daemon.process.wait(SOON_SECONDS, "the daemon to give up") == 1
        assert daemon.process.family() == {}
        assert "no-such-program" in daemon.process.stdout_log.read_text() + daemon.process.stderr_log.read_text()
