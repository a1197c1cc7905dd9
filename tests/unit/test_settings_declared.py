"""What follows from a setting's declaration, for every setting."""

import re
from pathlib import Path

import pytest

from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.failpoints import Entry
from k2_streams.runtime.settings.conditions import load
from k2_streams.runtime.settings.declare import declarations
from k2_streams.runtime.settings.tools import (
    DevelopmentSettings,
    LocalBrokerSettings,
    development_settings,
    local_broker_settings,
)
from k2_streams.runtime.settings.worker import Settings, SettingsError, declared, from_environment

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = str(ROOT / "tests" / "cases" / "conditions.csv")
BY_VARIABLE = {one.variable: one for one in declared()}
LOCAL = {one.variable for one in declarations(LocalBrokerSettings).values()}
DEVELOPMENT = {one.variable for one in declarations(DevelopmentSettings).values()}

#: Of each setting: a text, its value (None: needs other settings), and a text that is refused.
CASES = {
    "K2_BOOTSTRAP": ("kafka:9093", "kafka:9093", "kafka:x"),
    "K2_DATA_DIR": ("/srv/k2", Path("/srv/k2"), None),
    "K2_CATALOG_URI": ("http://catalog", "http://catalog", None),
    "K2_WAREHOUSE": ("s3://bucket", "s3://bucket", None),
    "K2_CATALOG_PROPERTIES": ('{"token": "x"}', {"token": "x"}, '{"token": null}'),
    "K2_APP_ID": ("mine", "mine", "not mine"),
    "K2_WORKER_ID": ("7", 7, "1000"),
    "K2_ROLE": ("query", "query", "reader"),
    "K2_PARTITIONS": ("12", 12, "12.5"),
    "K2_REPLICATION": ("3", 3, "10"),
    "K2_CHECK_PARTITION": ("no", False, "maybe"),
    "K2_SESSION_TIMEOUT_S": ("10", 10.0, "-1"),
    "K2_WEB_HOST": ("::1", "::1", None),
    "K2_WEB_PORT": ("7000", 7000, "70000"),
    "K2_STREAMS": ("quotes", ("quotes",), "bars"),
    "K2_API_KEYS": ("a,,b", ("a", "b"), None),
    "K2_STREAMS_MAX": ("3", 3, "1000"),
    "K2_API_KEYS_FILE": ("/etc/hosts", None, "/etc/hosts"),
    "K2_WEB_CERT_FILE": ("/etc/hosts", None, None),
    "K2_WEB_KEY_FILE": ("/etc/hosts", None, None),
    "K2_RATE_LIMIT_PER_S": ("100", 100, "many"),
    "K2_LOG_FORMAT": ("json", "json", "xml"),
    "K2_CALENDARS": ("XNYS=XNYS,ASX=XASX", {"XNYS": "XNYS", "ASX": "XASX"}, "XNYS"),
    "K2_NATIVE": ("off", "off", "on"),
    "K2_CHECKPOINT_SHORTEST_S": ("0.02", 0.02, "0"),
    "K2_CHECKPOINT_LONGEST_S": ("1", 1.0, "6"),
    "K2_LAKE_COMMIT_INTERVAL_S": ("0.5", 0.5, "inf"),
    "K2_LAKE_COMMIT_ROWS": ("100", 100, "0"),
    "K2_TAIL_MEMORY_BYTES": ("1048576", 1 << 20, "1"),
    "K2_TAIL_DISK_LIMIT": ("25%", DiskBound(share=0.25), "101%"),
    "K2_QUERY_MEMORY_BYTES": ("16777216", 1 << 24, "1"),
    "K2_LEDGER": ("0", False, "sometimes"),
    "K2_MAINTENANCE": ("1", True, "sometimes"),
    "K2_MAINTENANCE_INTERVAL_S": ("5", 5.0, "0"),
    "K2_COMPACT_TARGET_MB": ("64", 64, "0"),
    "K2_DELETE_DELAY_S": ("60", 60.0, "-1"),
    "K2_BREAKER_FAILURES": ("3", 3, "0"),
    "K2_BREAKER_OPEN_S": ("1", 1.0, "0"),
    "K2_BREAKER_SUCCESSES": ("4", 4, "0"),
    "K2_INSTRUMENTS_FILE": ("/srv/instruments.csv", Path("/srv/instruments.csv"), None),
    "K2_CONDITIONS_FILE": (CONDITIONS, load(Path(CONDITIONS)), "/nowhere.csv"),
    "K2_TIERS_FILE": ("tiers.csv", Path("tiers.csv").absolute(), None),
    "K2_MEMORY_LIMIT_BYTES": ("1073741824", 1 << 30, "1"),
    "K2_MAX_RATE_PER_S": ("1000", 1000, "-1"),
    "K2_COOL_DOWN_S": ("5", 5.0, "nan"),
    "K2_LAG_TRIGGERS_RECORDS": ("1,2,3", (1.0, 2.0, 3.0), "1,2"),
    "K2_LAG_TRIGGERS_S": ("1,2,3", (1.0, 2.0, 3.0), "0,1,2"),
    "K2_MEMORY_TRIGGERS_SHARE": ("0.1,0.2,0.3,0.4", (0.1, 0.2, 0.3, 0.4), "0.4,0.3,0.2,0.1"),
    "K2_OVERLOAD": ("0", False, "off and on"),
    "K2_ENRICH": ("false", False, "2"),
    "K2_LATE_HORIZON_S": ("60", 60, "0"),
    "K2_CONFLICT_TOLERANCE_MS": ("5", 5, "0"),
    "K2_DEDUP_TTL_S": ("60", 60, "0"),
    "K2_DEDUP_EXPECTED_IDS": ("1000", 1000, "0"),
    "K2_DEDUP_FALSE_POSITIVE_RATE": ("0.01", 0.01, "1"),
    "K2_KAFKA_SECURITY_PROTOCOL": ("SSL", "SSL", "TLS"),
    "K2_KAFKA_CA_FILE": ("/etc/ssl/certs/ca-certificates.crt", None, "/nowhere"),
    "K2_TRACES_ENDPOINT": ("http://a:1/v1/traces", "http://a:1/v1/traces", "a:1"),
    "K2_KAFKA_CERT_FILE": ("/etc/hosts", None, None),
    "K2_KAFKA_KEY_FILE": ("/etc/hosts", None, None),
    "K2_KAFKA_OAUTH_TOKEN_FILE": ("/etc/hosts", None, None),
    "K2_KAFKA_SASL_MECHANISM": ("SCRAM-SHA-256", None, "GSSAPI"),
    "K2_KAFKA_SASL_USERNAME": ("me", None, None),
    "K2_KAFKA_SASL_PASSWORD": ("x", "x", None),
    "K2_FAILPOINTS": ("lake.loaded=crash", (Entry("lake.loaded", "crash", 0, 1),), "nowhere=crash"),
    "K2_FAILPOINTS_RECORD": ("/srv/record", Path("/srv/record"), None),
    "K2_BROKER_PORT": ("0", 0, "65536"),
    "K2_KAFKA_JARS": ("/srv/jars", Path("/srv/jars"), None),
    "JAVA_HOME": ("/srv/java", Path("/srv/java"), None),
    "K2_FUZZ_DURATION_S": ("60", 60.0, "long"),
    "K2_FAULTS_ISOLATED": ("1", True, "maybe"),
    "K2_REST_JARS": ("/srv/rest", Path("/srv/rest"), None),
    "K2_STORE_JARS": ("/srv/store", Path("/srv/store"), None),
    "K2_TESTS_LAKE": ("s3", "s3", "gcs"),
    "K2_TESTS_MAY_DELETE_TOPICS": ("1", True, "maybe"),
    "K2_TEST_CONTROL": ("7001", 7001, "0"),
}  # fmt: skip


def read(variable, text, *, by_file=False):
    values = {f"{variable}_FILE" if by_file else variable: text}
    if variable in LOCAL:
        return local_broker_settings(values)
    return development_settings(values) if variable in DEVELOPMENT else from_environment(values)


def test_every_setting_has_a_case():
    assert set(CASES) == set(BY_VARIABLE)


def test_every_setting_is_touched_by_a_test_of_what_it_does():
    """The cases of this file do not count: they show that it is read, not that it is used."""
    sources = "\n".join(
        file.read_text()
        for folder in ("tests", "faults", "bench")
        for file in (ROOT / folder).rglob("*.py")
        if file != Path(__file__)
    )
    untouched = [
        one.variable
        for one in declared()
        if not re.search(rf"\b({one.variable}|{one.field})\b", sources)
    ]
    assert untouched == []


@pytest.mark.parametrize("variable", [name for name in CASES if CASES[name][1] is not None])
def test_a_text_gives_a_typed_value(variable):
    text, value, _ = CASES[variable]
    found = getattr(read(variable, text), BY_VARIABLE[variable].field)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "variable", [name for name in CASES if name != "JAVA_HOME" and CASES[name][1] is not None]
)
def test_a_file_holds_what_the_variable_would(variable, tmp_path):
    text, value, _ = CASES[variable]
    (tmp_path / "value").write_text(f"{text}\n")
    found = read(variable, str(tmp_path / "value"), by_file=True)
    assert getattr(found, BY_VARIABLE[variable].field) == value


@pytest.mark.parametrize("variable", [name for name in CASES if CASES[name][2] is not None])
def test_a_text_that_cannot_be_used_is_one_line_that_begins_with_the_name(variable):
    with pytest.raises(SettingsError) as refused:
        read(variable, CASES[variable][2])
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{variable}: ") for line in lines)
    assert lines


BOUNDED = [one for one in declared() if one.lowest is not None and one.highest is not None]


@pytest.mark.parametrize("one", BOUNDED, ids=[one.variable for one in BOUNDED])
def test_both_bounds_are_accepted_and_what_is_beyond_them_is_refused(one):
    below, above = (str(int(one.lowest) - 1), str(int(one.highest) + 1))
    if one.variable != "K2_WEB_PORT":
        assert getattr(read(one.variable, str(one.highest)), one.field) == one.highest
    assert getattr(read(one.variable, str(one.lowest)), one.field) == one.lowest
    for beyond in (below, above):
        with pytest.raises(SettingsError, match=f"{one.variable}: expected .*, found '{beyond}'"):
            read(one.variable, beyond)


UNIT_ENDINGS = {
    "MiB": ("_MB",),
    "bytes": ("_BYTES",),
    "ids": ("_IDS",),
    "ms": ("_MS",),
    "per s": ("_PER_S",),
    "records": ("_RECORDS",),
    "rows": ("_ROWS",),
    "s": ("_S",),
    "share": ("_SHARE", "_RATE"),
}


def test_a_number_with_a_unit_has_it_last_in_its_name():
    for one in declared():
        if one.unit:
            assert one.variable.endswith(UNIT_ENDINGS[one.unit]), one.variable


def test_no_secret_is_in_an_error_or_in_the_text_of_the_settings():
    for one in declared():
        if one.is_secret:
            assert one.field not in repr(Settings())
    text = '{"token": "hunter2", "rest.sigv4": 1}'
    with pytest.raises(SettingsError) as refused:
        from_environment({"K2_CATALOG_PROPERTIES": text, "K2_KAFKA_SASL_PASSWORD": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_an_error_has_the_value_what_is_expected_and_the_remedy():
    with pytest.raises(SettingsError) as refused:
        from_environment({"K2_PARTITIONS": "0"})
    assert str(refused.value) == (
        "K2_PARTITIONS: expected a whole number from 1 to 1000, found '0': "
        "correct it, or remove it for the default (4)"
    )


def test_a_value_of_many_lines_or_characters_is_one_short_line():
    with pytest.raises(SettingsError) as refused:
        from_environment({"K2_PARTITIONS": "1\n2" * 1_000})
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 300


def test_settings_made_directly_read_no_environment_and_are_checked(monkeypatch):
    monkeypatch.setenv("K2_PARTITIONS", "9")
    monkeypatch.setenv("PARTITIONS", "9")
    assert Settings().partitions == 4
    with pytest.raises(ValueError, match="partitions"):
        Settings(partitions=0)
    with pytest.raises(ValueError, match="nowhere"):
        Settings(nowhere=1)
    with pytest.raises(ValueError, match="frozen"):
        Settings().partitions = 5


def test_what_is_not_set_is_as_if_it_were_not_there():
    assert from_environment({"K2_PARTITIONS": ""}).partitions == 4
    assert not from_environment({}).is_set("bootstrap")
    assert from_environment({"K2_BOOTSTRAP": "a:1"}).is_set("bootstrap")
