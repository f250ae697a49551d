"""`fastact.remote`: a path or a URI becomes a file system and a path, or one clear error."""

import sys
from pathlib import Path

import pytest

from fastact.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError
from fastact.remote import is_uri, locate, redacted


@pytest.mark.parametrize(
    "where", ["runs", "runs/a:b/c", "/tmp/a?b=c", "C:/x", "c:\\x", "./s3:/bucket", "", "s3:bucket"]
)
def test_a_local_path_is_local_and_absolute(where: str) -> None:
    assert not is_uri(where)
    filesystem, path = locate(where)
    assert filesystem.type_name == "local"
    assert path == Path(where).absolute().as_posix()
    assert redacted(where) == where


def test_a_file_uri_is_decoded_as_links_are(tmp_path: Path) -> None:
    name = tmp_path / "50% of a b"
    assert locate(name.as_uri())[1] == name.as_posix()
    # `Path` has taken two of the slashes.
    assert locate(Path("file:///tmp/x"))[1] == "/tmp/x"
    assert locate("file://localhost/tmp/x")[1] == "/tmp/x"
    assert locate("file:///C:/x")[1] == "C:/x"
    with pytest.raises(ArgumentValueError, match="want file:///"):
        locate("file://elsewhere/tmp/x")


def test_what_lies_in_memory_is_written_and_read() -> None:
    pytest.importorskip("fsspec")
    filesystem, path = locate("memory://test_remote/a b.bin")
    with filesystem.open_output_stream(path) as file:
        file.write(b"here")
    filesystem, path = locate(Path("memory://test_remote/a b.bin"))
    assert filesystem.open_input_file(path).read() == b"here"
    filesystem.delete_file(path)
    assert not Path("memory:").exists()


@pytest.mark.parametrize("name", ["bucket/a b/c", "bucket/[ab]?/*.npy", "bucket/100%/x", "bucket/ä?"])
def test_names_on_object_stores_are_taken_as_they_are(name: str) -> None:
    options = "?region=eu-west-1&endpoint_override=localhost:1&scheme=http"
    filesystem, path = locate(f"s3://{name}{options}")
    assert (filesystem.type_name, path) == ("s3", name)
    assert filesystem.region == "eu-west-1"


def test_an_unknown_scheme_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ArgumentValueError, match=r"'foo://x/y', whose scheme neither Arrow nor fsspec knows"):
        locate("foo://x/y")
    assert not Path("foo:").exists()


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"memory:// needs fsspec: pip install 'fastact\[remote\]'"):
        locate("memory://x")


def test_what_is_malformed_is_told_without_secrets() -> None:
    with pytest.raises(ArgumentValueError, match=r"got 's3://bucket/x'") as caught:
        locate("s3://key:secret@bucket/x?no_such_option=1")
    assert "secret" not in str(caught.value)
    with pytest.raises(ArgumentTypeError, match="path: got int, want a str or a path"):
        locate(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="path: got bytes"):
        locate(b"s3://x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://k:s@b/x", "s3://b/x"),
        ("s3://k:s@b/x@y", "s3://b/x@y"),
        ("https://u:p@h/x?token=1", "https://h/x"),
        ("https://h/x?t", "https://h/x"),
        ("abfs://c@account/x?account_key=1", "abfs://c@account/x"),
        ("gs://b/a?.npy", "gs://b/a?.npy"),
    ],
)
def test_secrets_are_not_shown(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
