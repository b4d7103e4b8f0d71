"""Logs in CSV and Parquet: what is read, and how bad rows are named."""

import gzip
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dccl_tf.data.tables import TableColumns, load_table

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "amazon"
HEADER = "user_id,item_id,timestamp\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="log.csv"):
        path = tmp_path / name
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "wt", encoding="utf-8", newline="") as file:
            file.write(text)
        return path

    return write


def test_interactions_by_hand(write):
    log = load_table(write(HEADER + "9,30,5\n4,10,7\n9,20,5\n9,10,1\n"))
    assert log.users.ids.tolist() == [4, 9]
    assert log.catalogue.ids.tolist() == [10, 20, 30]
    assert log.items.tolist() == [1, 1, 3, 2]  # user 9: item 10 at 1, then 30 and 20 at 5 as in the file
    assert log.timestamps.tolist() == [7, 1, 5, 5]
    assert log.labels is None
    assert (log.users.fields[0].name, log.users.profile.tolist()) == ("none", [[0], [0]])


@pytest.mark.parametrize("name", ["log.csv.gz", "log.tsv", "LOG.CSV"])
def test_forms_of_csv(write, name):
    text = HEADER + "1,2,3\n"
    log = load_table(write(text.replace(",", "\t") if "tsv" in name else text, name))
    assert (log.users.ids.tolist(), log.catalogue.ids.tolist(), log.timestamps.tolist()) == ([1], [2], [3])


def test_a_folder_of_parquet_files(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "_SUCCESS").touch()  # as Spark leaves it
    for part, user in (("a", 1), ("b", 2)):
        frame = pd.DataFrame({"user_id": [user], "item_id": ["x"], "timestamp": [0]})
        frame.to_parquet(tmp_path / "log" / f"{part}.parquet")
    assert load_table(tmp_path / "log").users.ids.tolist() == [1, 2]


def test_columns_by_other_names_and_a_byte_order_mark(write):
    path = write("\ufeffwho;ignored,when,what\n1,x,2,3\n".replace(";", ","))
    assert load_table(path, columns=TableColumns("who", "what", "when")).catalogue.ids.tolist() == [3]


def test_ids_of_text(write):
    log = load_table(write(HEADER + "bo,B00x,1\nal,A1,1\n"))
    assert (log.users.ids.tolist(), log.catalogue.ids.tolist()) == (["al", "bo"], ["A1", "B00x"])


def test_ids_with_leading_zeros_stay_apart(write):
    assert load_table(write(HEADER + "1,007,1\n1,07,2\n")).catalogue.ids.tolist() == ["007", "07"]


def test_ids_of_19_digits_are_exact_and_of_20_are_text(write):
    log = load_table(write(HEADER + "1234567890123456789,18446744073709551615,1\n1234567890123456788,7,2\n"))
    assert log.users.ids.tolist() == [1234567890123456788, 1234567890123456789]
    assert log.catalogue.ids.tolist() == ["18446744073709551615", "7"]


def test_mixed_ids_can_be_declared_text(write):
    path = write(HEADER + "1,1234567890,1\n1,B00A,2\n")
    assert load_table(path, columns=TableColumns(id_type="text")).catalogue.ids.tolist() == ["1234567890", "B00A"]


@pytest.mark.parametrize("kind", [np.float64, np.uint64, np.int32])
def test_numbers_declared_text_are_written_as_whole_numbers(tmp_path, kind):
    users = np.array([1, 2], kind)
    pd.DataFrame({"user_id": users, "item_id": 1, "timestamp": 1}).to_parquet(tmp_path / "log.parquet")
    log = load_table(tmp_path / "log.parquet", columns=TableColumns(id_type="text"))
    assert log.users.ids.tolist() == ["1", "2"]


def test_a_fraction_is_no_id_though_declared_text(tmp_path):
    pd.DataFrame({"user_id": [1.0, 1.5], "item_id": 1, "timestamp": 1}).to_parquet(tmp_path / "log.parquet")
    message = r"row 2, column 'user_id': expected an id that is a whole number or text, got 1\.5"
    with pytest.raises(ValueError, match=message):
        load_table(tmp_path / "log.parquet", columns=TableColumns(id_type="text"))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["5", "7"], [5, 7]),
        (["1300000000123456789", "1300000000123456790"], [1300000000123456789, 1300000000123456790]),
        (["5.0", "7"], [5, 7]),
        (["5.25", "7"], [5_250_000, 7_000_000]),
        (["1970-01-02", "1970-01-02T00:00:05"], [86400, 86405]),
        (["1970-01-01T01:00:00+01:00", "1970-01-01 00:00:01.5"], [0, 1_500_000]),
        (["1970-01-01T00:00:01.000000002", "1970-01-01T00:00:01.000000003"], [1_000_000_002, 1_000_000_003]),
        (["1600000000123456788.0", "1600000000123456789"], [1600000000123456788, 1600000000123456789]),
        (["5.0", "1.6e18", " 1600000000000000001"], [5, 1600000000000000000, 1600000000000000001]),
    ],
)
def test_times(write, times, expected):
    log = load_table(write(HEADER + "".join(f"1,2,{time}\n" for time in times)))
    assert log.timestamps.tolist() == expected


def test_times_of_parquet(tmp_path):
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2]})
    frame["timestamp"] = pd.to_datetime(["1970-01-01 00:00:02", "1970-01-01 00:00:01"])
    frame.to_parquet(tmp_path / "log.parquet")
    log = load_table(tmp_path / "log.parquet")
    assert (log.timestamps.tolist(), log.items.tolist()) == ([1, 2], [2, 1])


def test_nanoseconds_of_parquet_keep_the_order_that_microseconds_would_lose(tmp_path):
    times = np.array([1_600_000_000_000_000_002, 1_600_000_000_000_000_001]).astype("datetime64[ns]")
    pd.DataFrame({"user_id": 1, "item_id": [1, 2], "timestamp": times}).to_parquet(tmp_path / "log.parquet")
    log = load_table(tmp_path / "log.parquet")
    assert log.items.tolist() == [2, 1]
    assert log.timestamps.tolist() == [1_600_000_000_000_000_001, 1_600_000_000_000_000_002]


def test_times_of_parquet_with_a_time_zone_are_in_utc(tmp_path):
    # At the end of summer time 01:30 comes twice in New York: at 05:30 and at 06:30 UTC.
    utc = pd.Series(pd.to_datetime(["2020-11-01 06:30", "2020-11-01 05:30"])).dt.tz_localize("UTC")
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": utc.dt.tz_convert("America/New_York")})
    frame.to_parquet(tmp_path / "log.parquet")
    log = load_table(tmp_path / "log.parquet")
    assert (log.items.tolist(), np.diff(log.timestamps).tolist()) == ([2, 1], [3600])


def test_categorical_columns_of_parquet_are_what_they_stand_for(tmp_path):
    frame = pd.DataFrame(
        {"user_id": pd.Categorical([7, 5]), "item_id": pd.Categorical(["b", "a"]), "timestamp": [1, 2]}
    )
    frame.to_parquet(tmp_path / "log.parquet")
    log = load_table(tmp_path / "log.parquet")
    assert (log.users.ids.tolist(), log.catalogue.ids.tolist()) == ([5, 7], ["a", "b"])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[1], [2]], r"row 1, column 'item_id': expected an id that is a whole number or text, got array"),
        ([b"\x80", b"\x81"], r"column 'item_id': expected text or numbers, got bytes that are not UTF-8"),
        ([1.0, 2.5], r"row 2, column 'item_id': expected an id that is a whole number or text, got 2.5"),
    ],
)
def test_ids_that_are_none_are_named(tmp_path, ids, message):
    pd.DataFrame({"user_id": [1, 2], "item_id": ids, "timestamp": [1, 2]}).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=message):
        load_table(tmp_path / "log.parquet")


def test_a_zero_byte_is_named_since_it_would_cut_ids(write):
    for name in ("log.csv", "log.csv.gz"):
        with pytest.raises(ValueError, match=r"log\.csv.*, line 3: expected text, got a zero byte"):
            load_table(write(HEADER + "u1,1,1\nu\0 2,1,2\nu\0 3,1,3\n", name))


def test_a_zero_byte_of_parquet_is_named(tmp_path):
    pd.DataFrame({"user_id": ["a", "a\0"], "item_id": 1, "timestamp": 1}).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"row 2, column 'user_id': expected an id without zero bytes"):
        load_table(tmp_path / "log.parquet")


def test_a_long_id_costs_its_own_length_and_a_longer_one_is_named(write):
    rows = "".join(f"u{n % 7},x,{n}\n" for n in range(100_000))
    tracemalloc.start()
    log = load_table(write(HEADER + rows + f"{'u' * 500},x,1\n"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert log.users.ids.tolist() == [*(f"u{n}" for n in range(7)), "u" * 500]
    assert peak < 100e6  # bytes; 500 characters of 4 bytes in each row would be 200e6
    message = r"line 3, column 'user_id': expected an id of at most 500 characters, got 'u{79}\.{3} \(501 characters\)"
    with pytest.raises(ValueError, match=message):
        load_table(write(HEADER + f"u,1,1\n{'u' * 501},1,2\n"))


@pytest.mark.parametrize("cells", [[[["a"], ["b"]]] * 2, [{"x": "a"}] * 2, [[b"a"], []]])
def test_categories_and_titles_that_are_more_than_values_are_named(tmp_path, write, cells):
    pd.DataFrame({"item_id": [1, 2], "kind": cells}).to_parquet(tmp_path / "items.parquet")
    for chosen, expected in (
        ({"categories": ("kind",)}, "a category, or a list of them"),
        ({"title": "kind"}, "a title that is text or a number"),
    ):
        with pytest.raises(ValueError, match=f"items.parquet, row 1, column 'kind': expected {expected}, got "):
            load_table(
                write(HEADER + "1,1,1\n1,2,2\n"), items=tmp_path / "items.parquet", columns=TableColumns(**chosen)
            )


def test_profiles_that_are_more_than_values_are_named(tmp_path, write):
    pd.DataFrame({"user_id": [1], "plan": [{"x": "a"}]}).to_parquet(tmp_path / "users.parquet")
    with pytest.raises(ValueError, match=r"row 1, column 'plan': expected a value that is text or a number"):
        load_table(write(HEADER + "1,1,1\n"), users=tmp_path / "users.parquet", columns=TableColumns(profile=("plan",)))


@pytest.mark.parametrize("column", ["timestamp", "y", "stars"])
def test_interactions_that_are_more_than_values_are_named(tmp_path, column):
    frame = pd.DataFrame({"user_id": [1, 2], "item_id": 1, "timestamp": 1, "y": 1, "stars": 1})
    frame[column] = [[1], [2, 3]]
    frame.to_parquet(tmp_path / "log.parquet")
    names = TableColumns(rating="stars") if column == "stars" else TableColumns(label="y")
    with pytest.raises(ValueError, match=f"log.parquet, row 1, column '{column}': expected a .*, got array"):
        load_table(tmp_path / "log.parquet", columns=names)


def test_labels_and_ratings(write):
    path = write("user_id,item_id,timestamp,clicked,stars\n1,1,1,1,3.5\n1,2,2,false,4\n")
    assert load_table(path, columns=TableColumns(label="clicked")).labels.tolist() == [1, 0]
    assert load_table(path, columns=TableColumns(rating="stars")).labels.tolist() == [0, 1]
    assert load_table(path, columns=TableColumns(rating="stars", rating_threshold=3)).labels.tolist() == [1, 1]


def test_categories_and_titles(write):
    log = load_table(
        write(HEADER + "1,10,1\n1,30,2\n1,20,3\n"),
        items=write("item_id,kind,name\n20,b|a,Two\n10,c||c,\n40,z,Unmet\n", "items.csv"),
        columns=TableColumns(categories=("kind",), title="name"),
    )
    assert log.catalogue.category_names == ("a", "b", "c")
    assert log.catalogue.categories.tolist() == [[0, 0], [3, 0], [1, 2], [0, 0], [0, 0]]
    assert log.catalogue.titles == ("", "Two", "")
    assert log.counts["items_without_details"] == 1  # 30
    assert log.counts["item_details_without_interactions"] == 1  # 40


def test_names_of_several_category_columns_say_which(write):
    log = load_table(
        write(HEADER + "1,1,1\n"), items=write("item_id,brand,kind\n1,red,red\n", "items.csv"),
        columns=TableColumns(categories=("brand", "kind")),
    )  # fmt: skip
    assert log.catalogue.category_names == ("brand: red", "kind: red")


def test_lists_of_categories_in_parquet(tmp_path, write):
    pd.DataFrame({"item_id": [1, 2], "kind": [["b", "a"], []]}).to_parquet(tmp_path / "items.parquet")
    log = load_table(
        write(HEADER + "1,1,1\n1,2,2\n"), items=tmp_path / "items.parquet", columns=TableColumns(categories=("kind",))
    )
    assert log.catalogue.categories.tolist() == [[0, 0], [1, 2], [0, 0], [0, 0]]


def test_profiles(write):
    log = load_table(
        write(HEADER + "1,1,1\n2,1,1\n3,1,1\n"), users=write("user_id,plan,level\n2,pro,10\n1,,9\n", "users.csv"),
        columns=TableColumns(profile=("plan", "level")),
    )  # fmt: skip
    assert [(field.name, field.values) for field in log.users.fields] == [("plan", ("pro",)), ("level", ("9", "10"))]
    assert log.users.profile.tolist() == [[0, 1], [1, 2], [0, 0]]
    assert log.counts["users_without_details"] == 1


@pytest.mark.parametrize(
    ("written", "expected"), [(("5", "5.0", "7"), ("5", "7")), (("01", "02", "10"), ("01", "02", "10"))]
)
def test_one_number_is_one_value_and_codes_keep_their_form(write, written, expected):
    log = load_table(
        write(HEADER + "0,1,1\n1,1,1\n2,1,1\n"),
        users=write("user_id,level\n" + "".join(f"{i},{text}\n" for i, text in enumerate(written)), "users.csv"),
        columns=TableColumns(profile=("level",)),
    )
    assert log.users.fields[0].values == expected


def test_numeric_profile_columns_become_quantiles(write):
    users = "user_id,income\n" + "".join(f"{i},{i}\n" for i in range(100)) + "100,\n"
    log = load_table(
        write(HEADER + "".join(f"{i},1,1\n" for i in range(101))), users=write(users, "users.csv"),
        columns=TableColumns(profile=("income",)),
    )  # fmt: skip
    (field,) = log.users.fields
    assert (field.size, field.values[0], field.values[-1]) == (11, "up to 9", "over 89")
    assert np.bincount(log.users.profile[:, 0]).tolist() == [1] + [10] * 10


def bounds_of(write, values):
    """The field and the users of each of its indices, of a users file with these values."""
    numbered = list(enumerate(values))
    log = load_table(
        write(HEADER + "".join(f"{user},1,1\n" for user, _ in numbered)),
        users=write("user_id,joined\n" + "".join(f"{user},{value}\n" for user, value in numbered), "users.csv"),
        columns=TableColumns(profile=("joined",)),
    )
    return log.users.fields[0].values, np.bincount(log.users.profile[:, 0]).tolist()


def test_buckets_have_different_names_however_close_their_bounds_are(write):
    values, counts = bounds_of(write, range(20_230_001, 20_230_031))  # 30 dates written as numbers, 3 a bucket
    bounds = [f"20{230_000 + 3 * bucket}" for bucket in range(1, 10)]
    assert values[0] == f"up to {bounds[0]}"
    assert values[1:-1] == tuple(f"over {low} to {high}" for low, high in pairwise(bounds))
    assert (values[-1], counts) == (f"over {bounds[-1]}", [0] + [3] * 10)


def test_a_column_whose_largest_value_most_users_share_has_two_buckets(write):
    assert bounds_of(write, [*range(21), *[100] * 300]) == (("up to 20", "over 20"), [0, 21, 300])


def test_a_profile_of_names_is_refused(write):
    users = "user_id,name\n" + "".join(f"{i},n{i}\n" for i in range(1001))
    with pytest.raises(ValueError, match=r"column 'name': expected at most 1000 different values .* got 1001"):
        load_table(write(HEADER + "1,1,1\n"), users=write(users, "users.csv"), columns=TableColumns(profile=("name",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header and rows, got an empty file"),
        (HEADER, "expected at least one row"),
        ("user,item_id,timestamp\n1,2,3\n", "expected a column 'user_id', got user, .* did you mean 'user'"),
        (HEADER + "1,2,3\n,2,3\n", "line 3, column 'user_id': expected an id, got nothing"),
        (HEADER + "1,2,3\n1,x2,3\n", "line 3, column 'item_id': expected a whole number, .*'text'.* got 'x2'"),
        (HEADER + "1,2,3\n1,2,yesterday\n", "line 3, column 'timestamp': expected a number, .* got 'yesterday'"),
        (HEADER + "1,2,2020-01-01\n1,2,2020-13-01\n", "line 3, column 'timestamp': .* got '2020-13-01'"),
        (
            HEADER + "1,2,1600000000123456789\n1,2,1600000000123456788.5\n",
            "line 2, column 'timestamp': expected a time whose microseconds fit into 64 bits",
        ),
        (HEADER + "1,2,3\n1,2,inf\n", "line 3, column 'timestamp': .* got 'inf'"),
        (HEADER + "1,2,3\n1,2\n", "line 3, column 'timestamp': .* got nothing"),
        (HEADER + "1,2,3\n1,2,3,4\n", "line 3.* saw 4"),
        (HEADER + "1,2,3,4\n1,2,3,4\n", "line 2: expected 3 fields as in the header, got more"),
        (HEADER + "1,2,3\n\n\n1,2,x\n", "line 5, column 'timestamp'"),
        (HEADER + '"a\nb",2,3\nc,2,x\n', "line 4, column 'timestamp'"),
        (HEADER + "1,2,3\n   \n1,2,x\n", "line 4, column 'timestamp'"),
        (HEADER + "1,2,01/02/2020\n", r"line 2, .*expected a time \(a number or an ISO 8601 date\), got '01/02/2020'"),
        ("user_id,item_id,timestamp,item_id\n1,2,3,4\n", "expected one column 'item_id', got 2 of that name"),
        ("user_id;item_id;timestamp\n1;2;3\n", "fields are expected to be separated by ',', not by ';'"),
    ],
)
def test_bad_rows_are_named(write, text, message):
    with pytest.raises(ValueError, match=r"log\.csv.*" + message):
        load_table(write(text))


def test_a_bad_row_is_named_beyond_a_cell_of_any_length(write):
    long = "x" * 200_000
    with pytest.raises(ValueError, match=r"log\.csv, line 3, column 'timestamp': .* got 'y'"):
        load_table(write(f"user_id,item_id,timestamp,title\n1,2,3,{long}\n1,2,y,\n"))
    # A quote that nobody closes for 40,002 lines, after the header, makes one id of them.
    with pytest.raises(ValueError, match=r"line 40003, column 'user_id': expected an id of at most 500 characters"):
        load_table(write(HEADER + '"a,2,3\n' + "b,2,3\n" * 40_000 + 'c",2,3\n'))


@pytest.mark.parametrize("value", ["2", "-1", "nan", "yes", ""])
def test_bad_labels_are_named(write, value):
    path = write(f"user_id,item_id,timestamp,y\n1,2,3,1\n1,2,3,{value}\n")
    with pytest.raises(ValueError, match=f"line 3, column 'y': expected a label, 0 or 1, got .*{value}"):
        load_table(path, columns=TableColumns(label="y"))


@pytest.mark.parametrize("column", ["user_id", "timestamp", "y"])
def test_a_null_in_parquet_is_named_by_its_row(tmp_path, column):
    frame = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "timestamp": [1, 2], "y": [True, False]}).astype(object)
    frame.loc[1, column] = None
    frame.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=f"log.parquet, row 2, column '{column}': expected .*, got nothing"):
        load_table(tmp_path / "log.parquet", columns=TableColumns(label="y"))


def test_lines_of_a_compressed_file_are_counted_whatever_the_case_of_its_name(tmp_path):
    (tmp_path / "LOG.CSV.GZ").write_bytes(gzip.compress((HEADER + "1,2,3\n1,2,x\n").encode()))
    with pytest.raises(ValueError, match="line 3, column 'timestamp'"):
        load_table(tmp_path / "LOG.CSV.GZ")


def test_a_damaged_compressed_file_is_named(tmp_path):
    whole = gzip.compress((HEADER + "".join(f"{n},{n * 7 % 31},{n}\n" for n in range(500))).encode())
    for place in range(20, 220, 10):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "log.csv.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"log\.csv\.gz"):
            load_table(tmp_path / "log.csv.gz")


def test_an_item_described_twice_is_named(write):
    with pytest.raises(ValueError, match=r"items.csv, line 3, column 'item_id': expected each id once, got '1'"):
        load_table(
            write(HEADER + "1,1,1\n"), items=write("item_id,kind\n1,a\n1,b\n", "items.csv"),
            columns=TableColumns(categories=("kind",)),
        )  # fmt: skip


def test_ids_of_another_type_in_the_items_file_are_named(write):
    with pytest.raises(ValueError, match=r"items.csv, line 2, column 'item_id': expected an id like 1 .*got 'A1'"):
        load_table(
            write(HEADER + "1,1,1\n"), items=write("item_id,kind\nA1,a\n", "items.csv"),
            columns=TableColumns(categories=("kind",)),
        )  # fmt: skip


def test_other_files_are_refused(tmp_path, write):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"expected .csv, .* got .xlsx"):
        load_table(write("x", "log.xlsx"))
    with pytest.raises(ValueError, match="expected a Parquet file"):
        load_table(write("PAR1", "log.parquet"))
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + "1,Café,3\n".encode("latin-1"))
    with pytest.raises(ValueError, match="expected UTF-8"):
        load_table(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"label": "a", "rating": "b"}, "label, rating: expected one of them, got 'a' and 'b'"),
        ({"profile": ("a", "b", "a")}, "profile: expected each column once, got a, b, a"),
        ({"category_separator": ""}, "category_separator: expected at least one character, got none"),
        ({"rating_threshold": float("nan")}, "rating_threshold: expected a finite number, got nan"),
        ({"id_type": "number"}, "id_type: expected 'auto' or 'text', got 'number'"),
    ],
)
def test_choices_that_do_not_fit_are_named(choices, message):
    with pytest.raises(ValueError, match=message):
        TableColumns(**choices)


def test_a_file_of_which_nothing_would_be_read_is_refused(write):
    with pytest.raises(ValueError, match=r"users: expected columns to read from .*users.csv \(profile\), got none"):
        load_table(write(HEADER + "1,1,1\n"), users=write("user_id,age\n1,5\n", "users.csv"))


def test_details_of_none_of_the_items_are_refused(write):
    with pytest.raises(ValueError, match=r"items.csv, column 'item_id': expected ids .* such as 10, got none .* 11"):
        load_table(
            write(HEADER + "1,10,1\n"), items=write("item_id,kind\n11,a\n", "items.csv"),
            columns=TableColumns(categories=("kind",)),
        )  # fmt: skip


def test_a_category_column_needs_an_items_file(write):
    with pytest.raises(ValueError, match="items: expected a file with the column 'kind', got none"):
        load_table(write(HEADER + "1,1,1\n"), columns=TableColumns(categories=("kind",)))


@pytest.mark.skipif(not REAL.exists(), reason="the Amazon log lies not beside the checkout")
def test_the_amazon_log_loads():
    log = load_table(
        REAL / "interactions.parquet", REAL / "items.parquet", columns=TableColumns(categories=("category", "domain"))
    )
    assert (len(log.users), len(log.catalogue), len(log.items)) == (303_167, 129_180, 2_611_173)
