"""API keys: their file, what of it is refused, and what happens when it changes."""

import hashlib

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner
from web_support import FixedClock, application

from k2_streams.cli.main import main
from k2_streams.runtime.control.api_keys_file import ApiKeysFile
from k2_streams.runtime.settings.api_keys import ApiKeysError, load, parse
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.web.http import api_keys
from k2_streams.web.http.api_keys import KeyRing, digest_of


def table(name: str = "desk", text: str = "secret", more: str = "") -> str:
    """A key's table, with the hash as `sha256sum` makes it."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'[[key]]\nname = "{name}"\nhash = "sha256:{digest}"\n{more}\n'


def test_a_table_has_a_name_a_hash_and_limits():
    limits = 'exchanges = ["X", "Y"]\nrelations = ["gaps"]\nrate = 0.5'
    narrow, wide = parse(table(more=limits) + table("other", "else"))
    assert (narrow.name, narrow.rate_per_s) == ("desk", 0.5)
    assert narrow.digest == digest_of("secret")
    assert narrow.entitlement.exchanges == {"X", "Y"}
    assert narrow.entitlement.relations == {"gaps"}
    assert wide.entitlement.is_all
    assert wide.rate_per_s is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected [[key]] tables"),
        ("a,b\nc", "expected TOML"),
        (f"a = {'9' * 5_000}", "expected TOML"),
        (f"a = {'[' * 5_000}", "expected TOML"),
        ("key = []\n", "at least one"),
        ("[key]\nname = 'a'\n", "expected [[key]] tables"),
        ("[[keys]]\nname = 'a'\n", "keys"),
        ("[[key]]\nname = 'a'\n", "hash"),
        (table(more="exchange = ['X']"), "exchange"),
        (table(more="exchanges = 'X'"), "exchanges"),
        (table(more="exchanges = []"), "exchanges: expected names"),
        (table(more="relations = ['']"), "relations: expected names"),
        (table(more="rate = 0"), "rate: expected above 0"),
        (table(more="rate = 'fast'"), "rate"),
        (table("a b"), "name 'a b'"),
        (table().replace("sha256:", "md5:"), "hash: expected sha256:"),
        (table() + table(text="else"), "the same name"),
        (table() + table("other"), "the same hash"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text, told):
    with pytest.raises(ApiKeysError) as refused:
        parse(text)
    assert told in str(refused.value)


def test_a_setting_that_names_a_bad_file_is_refused_by_its_name(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(table(more="rate = -1"))
    with pytest.raises(SettingsError, match=r"^K2_API_KEYS_FILE: .*rate: expected above 0"):
        from_environment({"K2_API_KEYS_FILE": str(file)})
    with pytest.raises(SettingsError, match=r"^K2_API_KEYS_FILE: .*cannot be read"):
        from_environment({"K2_API_KEYS_FILE": str(tmp_path)})
    with pytest.raises(SettingsError, match=r"^K2_API_KEYS and K2_API_KEYS_FILE"):
        from_environment({"K2_API_KEYS": "a", "K2_API_KEYS_FILE": str(file)})


@pytest.mark.parametrize("text", ["", " \n\n", ",", " , ,\n"])
def test_a_file_without_a_key_is_refused_at_the_start(tmp_path, text):
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"^K2_API_KEYS_FILE: .*expected at least one key"):
        from_environment({"K2_API_KEYS_FILE": str(file)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("key = []", "at least one"),
        ("# a, b", r"expected \[\[key\]\] tables"),
        ("[[key]]", "name"),
        ("[[key]] name = 'a', hash = 'b'", "expected TOML"),
        ('{"key": [], "other": 1}', "expected TOML"),
    ],
)
def test_a_line_of_toml_is_never_taken_for_keys_by_comma(tmp_path, text, told):
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(SettingsError, match=rf"^K2_API_KEYS_FILE: .*{told}"):
        from_environment({"K2_API_KEYS_FILE": str(file)})
    file.write_text("a,b\n")
    assert from_environment({"K2_API_KEYS_FILE": str(file)}).api_keys == ("a", "b")


def test_a_file_of_tables_opens_the_port_as_keys_do(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(table())
    found = from_environment({"K2_API_KEYS_FILE": str(file), "K2_WEB_HOST": "0.0.0.0"})  # noqa: S104 - the point
    assert (found.api_keys, found.keys_file) == ((), file)


def rewritten(file, text: str) -> None:
    """Replace a file at once, as whatever mounts secrets does."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_file_that_changes_is_read_again_and_one_that_is_wrong_changes_nothing(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(table())
    watched = ApiKeysFile(file)
    ring = watched.ring
    rewritten(file, table("second", "else"))
    assert ring.find("secret")
    watched.look()
    assert ring.find("secret") is None
    assert ring.find("else").name == "second"
    for wrong in ("", "[[key]]\n", table(more="rate = 0")):
        rewritten(file, wrong)
        watched.look()
        assert ring.find("else").name == "second"
    file.unlink()
    watched.look()
    assert ring.find("else").name == "second"
    file.write_text(table())
    watched.look()
    assert ring.find("else") is None
    assert ring.find("secret")


def test_a_file_without_a_key_never_opens_a_server():
    ring = KeyRing.of_texts(["a"])
    with pytest.raises(ValueError, match="at least one"):
        ring.replace([])
    assert ring.find("a")


async def test_a_key_that_is_taken_away_is_refused_at_the_next_request(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(table())
    watched = ApiKeysFile(file)
    async with TestClient(TestServer(application(keys=watched.ring))) as client:
        headers = {"X-API-Key": "secret"}
        assert (await client.get("/v1/trades", headers=headers)).status == 200
        rewritten(file, table("second", "else"))
        watched.look()
        assert (await client.get("/v1/trades", headers=headers)).status == 401


async def test_each_key_has_the_rate_of_its_own():
    ring = KeyRing(parse(table(more="rate = 2") + table("other", "else")))
    app = application(keys=ring, rate_limit_per_s=5, clock=FixedClock())
    async with TestClient(TestServer(app)) as client:

        async def answered(text: str) -> int:
            headers = {"X-API-Key": text}
            found = [(await client.get("/v1/trades", headers=headers)).status for _ in range(8)]
            assert set(found) == {200, 429}
            return found.count(200)

        assert [await answered("secret"), await answered("else")] == [2, 5]


def test_every_key_is_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append((left, right))
        return left == right

    monkeypatch.setattr(api_keys.hmac, "compare_digest", compare)
    assert KeyRing.of_texts(["a", "b"]).find("a").name == "key-1"
    assert len(compared) == 2
    assert {len(side) for pair in compared for side in pair} == {32}


def test_the_command_makes_a_key_whose_table_the_file_takes(tmp_path):
    file = tmp_path / "keys.toml"
    made = []
    for arguments in (["a"], ["b", "--exchange", "X", "--relation", "gaps", "--rate", "2"]):
        done = CliRunner().invoke(main, ["keys", "new", *arguments])
        assert done.exit_code == 0, done.output
        made.append(done.stderr.split()[-1])
        with file.open("a") as keys:
            keys.write(done.stdout)
    first, second = load(file)
    ring = KeyRing([first, second])
    assert [ring.find(text).name for text in made] == ["a", "b"]
    assert made[0] not in file.read_text()
    assert second.entitlement.exchanges == {"X"}
    assert second.rate_per_s == 2


def test_the_command_refuses_a_name_that_no_log_line_could_hold():
    done = CliRunner().invoke(main, ["keys", "new", "a b"])
    assert done.exit_code == 2
    assert "name 'a b'" in done.output
