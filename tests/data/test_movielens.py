"""MovieLens from small files made here, and, where they lie beside the checkout, from the real ones."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dccl_tf.data import sources
from dccl_tf.data.movielens import load_movielens

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"
FILES_100K = {
    "u.data": "7\t20\t4\t100\n5\t10\t3\t90\n7\t10\t5\t100\n",
    "u.user": "5|17|F|artist|12345\n7|56|M|writer|12345\n",
    "u.item": "10|Café (1990) |1990||u|0|1|0|0|0|1" + "|0" * 13 + "\n20|B|1990||u|1" + "|0" * 18 + "\n",
}
FILES_RECBOLE = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + FILES_100K["u.data"],
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    + FILES_100K["u.user"].replace("|", "\t"),
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "10\tCafé\t1990\tAction Comedy\n20\tunkonwn\tunkonwn\tunknown\n",
}
FILES_1M = {
    "ratings.dat": "2::3::4::50\n1::3::1::40\n2::9::5::45\n",
    "users.dat": "2::F::25::20::1\n",
    "movies.dat": "3::Rosé: a film::Drama|War\n4::Never seen::War\n",
}


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("DCCL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def unpacked(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="latin-1")
    return folder


def zipped(path, name, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{name}/{file}", text.encode("latin-1"))
    return path


def test_100k_by_hand(tmp_path):
    log = load_movielens("ml-100k", unpacked(tmp_path / "ml-100k", FILES_100K))
    assert log.users.ids.tolist() == [5, 7]
    assert log.catalogue.ids.tolist() == [10, 20]
    assert log.items.tolist() == [1, 2, 1]  # user 7's two ratings of one second in the order of the file
    assert log.labels.tolist() == [0, 1, 1]
    assert log.catalogue.titles == ("Café (1990)", "B")
    assert log.catalogue.category_names == ("Action", "Comedy", "unknown")
    assert log.catalogue.categories.tolist() == [[0, 0], [1, 2], [3, 0], [0, 0]]
    assert [field.values for field in log.users.fields] == [
        ("under 18", "56 and over"), ("F", "M"), ("artist", "writer")]  # fmt: skip
    assert log.users.profile.tolist() == [[1, 1, 1], [2, 2, 2]]


def test_recboles_copy_gives_the_same_log(tmp_path):
    original = load_movielens("ml-100k", unpacked(tmp_path / "a", FILES_100K))
    (tmp_path / "b").mkdir()
    for name, text in FILES_RECBOLE.items():
        (tmp_path / "b" / name).write_text(text, encoding="utf-8")
    copy = load_movielens("ml-100k", tmp_path / "b")
    assert copy.catalogue.titles == ("Café (1990)", "unknown")
    assert copy.catalogue.category_names == original.catalogue.category_names
    assert copy.users.fields == original.users.fields
    for ours, theirs in (
        (copy.items, original.items),
        (copy.labels, original.labels),
        (copy.timestamps, original.timestamps),
        (copy.offsets, original.offsets),
        (copy.users.profile, original.users.profile),
        (copy.catalogue.categories, original.catalogue.categories),
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_1m_by_hand_with_a_user_and_a_film_that_their_files_lack(tmp_path):
    log = load_movielens("ml-1m", unpacked(tmp_path, FILES_1M))
    assert log.items.tolist() == [1, 2, 1]
    assert log.users.profile.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert [field.values for field in log.users.fields] == [("25-34",), ("F",), ("writer",)]
    assert log.catalogue.titles == ("Rosé: a film", "")
    assert log.catalogue.categories.tolist() == [[0, 0], [1, 2], [0, 0], [0, 0]]
    assert log.counts["users_without_profile"] == 1
    assert log.counts["items_without_details"] == 1
    assert log.counts["details_without_interactions"] == 1  # film 4


def test_threshold_decides_the_labels(tmp_path):
    log = load_movielens("ml-1m", unpacked(tmp_path, FILES_1M), rating_threshold=5)
    assert log.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("given", ["zip", "folder with zip", "folder with folder", "environment"])
def test_data_dir_may_be_what_was_downloaded(tmp_path, monkeypatch, given):
    path = zipped(tmp_path / "ml-100k.zip", "ml-100k", FILES_100K)
    if given == "folder with zip":
        path = tmp_path
    elif given == "folder with folder":
        path = unpacked(tmp_path / "place" / "ml-100k", FILES_100K).parent
    elif given == "environment":
        monkeypatch.setenv("DCCL_DATA", str(path))
        path = None
    assert len(load_movielens("ml-100k", path).items) == 3


def test_a_wrong_data_dir_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"data_dir: expected ml-1m.zip .* which holds notes.txt"):
        load_movielens("ml-1m", tmp_path)


def test_the_zip_of_the_other_set_is_refused(tmp_path):
    path = zipped(tmp_path / "ml-1m.zip", "ml-1m", FILES_1M)
    with pytest.raises(ValueError, match=r"expected a file u.user, got movies.dat, ratings.dat, users.dat"):
        load_movielens("ml-100k", path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ratings.dat", "1::3::4::50\n1::x::4::50\n", r"ratings.dat, line 2, column 'item': .*got 'x'"),
        ("ratings.dat", "1::3::4::50\n1::3::4::soon\n", r"ratings.dat, line 2, column 'time': .*got 'soon'"),
        ("ratings.dat", "1::3::4::50\n\n1::3::4::50\n", r"ratings.dat, line 2, column 'user': .*got nothing"),
        ("ratings.dat", "", "ratings.dat: No columns"),
        ("users.dat", "1::F::26::20::1\n", r"users.dat, line 1, column 'age': expected one of 1, 18, .*got '26'"),
        ("movies.dat", "3::A::War\n3::B::War\n", r"movies.dat, line 2, column 'item': expected each id once, got '3'"),
    ],
)
def test_a_bad_row_is_named(tmp_path, file, text, message):
    with pytest.raises(ValueError, match=message):
        load_movielens("ml-1m", unpacked(tmp_path, FILES_1M | {file: text}))


def test_order_of_places_and_the_cache(tmp_path, monkeypatch):
    asked = []

    def server(name):
        asked.append("server")
        raise OSError("no route")

    def wheel(name):
        asked.append("wheel")
        return zipped(tmp_path / "made.zip", name, FILES_100K).read_bytes()

    monkeypatch.setattr(sources, "_from_server", server)
    monkeypatch.setattr(sources, "_from_wheel", wheel)
    first = load_movielens("ml-100k")
    assert asked == ["server", "wheel"]
    assert "recbole" in first.source
    assert "Harper" in first.source
    assert "the cache" in load_movielens("ml-100k").source
    assert asked == ["server", "wheel"]
    assert [path.name for path in (tmp_path / "home" / "dccl").iterdir()] == ["ml-100k.zip"]


def test_nothing_to_be_had_names_every_place(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "SERVER", "http://127.0.0.1:9/{name}.zip")
    with pytest.raises(FileNotFoundError) as error:
        load_movielens("ml-1m", cache_dir=tmp_path)
    for words in ("holds no ml-1m.zip", "127.0.0.1:9/ml-1m.zip (", "refused", "--data_dir", "No package on PyPI"):
        assert words in str(error.value)


def test_a_silent_server_is_given_up_and_keeps_no_process_alive():
    program = (
        "import socket, time\n"
        "from dccl_tf.data import sources\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "sources.SERVER, sources.SERVER_SECONDS = f'http://127.0.0.1:{server.getsockname()[1]}/{{name}}.zip', 0.3\n"
        "began = time.monotonic()\n"
        "try:\n"
        "    sources._from_server('ml-1m')\n"
        "except OSError:\n"
        "    assert time.monotonic() - began < 2\n"
        "else:\n"
        "    raise SystemExit('an answer?')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


@pytest.mark.skipif(not (REAL / "ml-100k.zip").exists(), reason="the real ml-100k.zip lies not beside the checkout")
def test_the_real_100k():
    log = load_movielens("ml-100k", REAL)
    assert (len(log.users), len(log.catalogue), len(log.items)) == (943, 1682, 100_000)
    assert log.labels.sum() == 55_375  # ratings 4 and 5 by the file: 34,174 and 21,201
    assert log.catalogue.titles[0] == "Toy Story (1995)"
    assert np.all(np.diff(log.timestamps)[np.diff(log.owners) == 0] >= 0)


@pytest.mark.skipif(not (REAL / "ml-1m.zip").exists(), reason="the real ml-1m.zip lies not beside the checkout")
def test_the_real_1m():
    log = load_movielens("ml-1m", REAL)
    assert (len(log.users), len(log.catalogue), len(log.items)) == (6040, 3416, 999_611)
    assert [field.size for field in log.users.fields] == [8, 3, 22]
