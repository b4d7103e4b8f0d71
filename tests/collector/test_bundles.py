"""Bundles over HTTP: publishing, rollout, and fetching in all ways."""

import gzip
import io
import json
import os
import time
import zipfile
from pathlib import Path

import brotli
import pytest

from dccl_tf.collector import Collector, Settings
from device_runtime import Bundle
from protos import dccl_pb2
from tests.collector.bundles import TINY, TINY_K, tiny_identity, zipped
from tests.collector.devices import SmallDevice, send
from tests.vectors.uploads import verdict

ZIP = {"Content-Type": "application/zip"}


@pytest.fixture
def publish(client, operator, tmp_path):
    """Publishes a bundle over HTTP; returns its identity."""

    def publish(percent=100, parent=b""):
        path = tmp_path / "bundle.zip"
        identity = zipped(path, parent)
        answer = client.post(
            f"/v1/operator/bundles?percent={percent}", content=path.read_bytes(), headers=operator | ZIP
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["bundle"] == identity.hex()
        return identity

    return publish


@pytest.fixture
def change(client, operator, collector):
    def change(identity, **change):
        answer = client.patch(f"/v1/operator/bundles/{identity.hex()}", json=change, headers=operator)
        assert answer.status_code == 200, answer.text

    return change


def fetched(client, device_id="d1", **headers):
    return client.get("/v1/bundle", headers={"Dccl-Device-Id": device_id, "Accept-Encoding": "identity"} | headers)


def test_a_published_bundle_opens_on_a_device(client, publish, tmp_path):
    identity = publish()
    answer = fetched(client)
    assert (answer.headers["content-type"], answer.headers["etag"]) == ("application/zip", f'"{identity.hex()}"')
    (tmp_path / "fetched.zip").write_bytes(answer.content)
    bundle = Bundle.open(tmp_path / "fetched.zip")
    assert bundle.identity == identity
    assert bundle.model_bytes == (TINY / "model.tflite").read_bytes()


def test_vectors_of_a_published_bundle_are_accepted(client, publish):
    identity = publish(parent=b"p" * 32)
    assert verdict(send(client, SmallDevice.registered(client).body(bundle=identity))) == "ACCEPTED"


def test_a_bundle_whose_file_is_gone_is_an_error_and_not_an_empty_file(client, publish, collector):
    publish()
    for file in (collector.settings.data_dir / "bundles").iterdir():
        file.unlink()
    answer = fetched(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert "its file cannot be read (FileNotFoundError); publish it again" in answer.text


@pytest.mark.parametrize(("damage", "what"), [(Path.unlink, "is gone"), (lambda file: os.truncate(file, 3), "has 3 b")])
def test_a_release_that_has_lost_a_file_is_not_ready_until_it_is_published_again(
    client, publish, collector, damage, what
):
    identity = publish().hex()
    damage(collector.settings.data_dir / "bundles" / f"{identity}.zip")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["releases"].startswith(f"bundle {identity}: its file (identity) {what}")
    publish()
    assert client.get("/readyz").status_code == 200
    assert fetched(client).status_code == 200
    assert len(collector.releases.newest_first()) == 1


def test_what_is_published_again_keeps_its_share_unless_another_is_given(publish, collector, tmp_path):
    identity = publish()
    file = collector.settings.data_dir / "bundles" / f"{identity.hex()}.zip"
    (release,) = collector.releases.newest_first()
    assert release.percent > 0.0
    for percent, expected in ((None, release.percent), (5.0, 5.0)):
        file.unlink()
        assert collector.publish(tmp_path / "bundle.zip", percent).percent == expected


def test_a_file_of_a_release_that_nobody_is_offered_is_not_missed(client, publish, collector):
    identity = publish()
    collector.change_release(identity, percent=0.0)
    (collector.settings.data_dir / "bundles" / f"{identity.hex()}.zip").unlink()
    assert client.get("/readyz").status_code == 200


def test_before_the_first_there_is_none(client):
    assert fetched(client).status_code == 404


def test_whoever_has_it_is_not_sent_it_again(client, publish):
    publish()
    tag = fetched(client).headers["etag"]
    answer = fetched(client, **{"If-None-Match": tag})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    publish(parent=b"p" * 32)
    assert fetched(client, **{"If-None-Match": tag}).status_code == 200


def test_each_coding_decodes_to_the_same_zip_under_a_tag_of_its_own(client, publish):
    publish()
    plain = fetched(client)
    for coding, decode in (("gzip", gzip.decompress), ("br", brotli.decompress)):
        with client.stream("GET", "/v1/bundle", headers={"Accept-Encoding": coding}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == coding
        assert answer.headers["etag"] == plain.headers["etag"][:-1] + f'-{coding}"'
        assert int(answer.headers["content-length"]) == len(raw) < len(plain.content)
        assert decode(raw) == plain.content


def test_a_broken_download_goes_on_where_it_stopped(client, publish):
    publish()
    whole = fetched(client)
    first = fetched(client, Range="bytes=0-999")
    rest = fetched(client, Range="bytes=1000-", **{"If-Range": first.headers["etag"]})
    assert (first.status_code, rest.status_code) == (206, 206)
    assert rest.headers["content-range"] == f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
    assert first.content + rest.content == whole.content


def test_a_compressed_download_goes_on_compressed(client, publish):
    publish()
    whole = fetched(client).content
    accept = {"Accept-Encoding": "br", "Dccl-Device-Id": "d1"}
    with client.stream("GET", "/v1/bundle", headers=accept) as answer:
        raw, tag = b"".join(answer.iter_raw()), answer.headers["etag"]
    rest = accept | {"Range": "bytes=1000-", "If-Range": tag}
    with client.stream("GET", "/v1/bundle", headers=rest) as answer:
        assert (answer.status_code, answer.headers["content-encoding"]) == (206, "br")
        assert brotli.decompress(raw[:1000] + b"".join(answer.iter_raw())) == whole


def test_a_range_alone_is_of_the_plain_file(client, publish):
    """Many clients accept codings without being asked, and could not decode a part."""
    publish()
    answer = fetched(client, Range="bytes=10-19", **{"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.content == fetched(client).content[10:20]


def test_a_download_that_was_overtaken_by_a_new_bundle_begins_again(client, publish):
    publish()
    tag = fetched(client).headers["etag"]
    publish(parent=b"p" * 32)
    answer = fetched(client, Range="bytes=1000-", **{"If-Range": tag})
    assert (answer.status_code, zipfile.is_zipfile(io.BytesIO(answer.content))) == (200, True)


def test_a_range_beyond_the_end_is_named(client, publish):
    publish()
    size = len(fetched(client).content)
    answer = fetched(client, Range=f"bytes={size}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


def test_head_tells_the_size_alone(client, publish):
    publish()
    answer = client.head("/v1/bundle", headers={"Accept-Encoding": "identity"})
    assert (int(answer.headers["content-length"]), answer.content) == (len(fetched(client).content), b"")


def test_a_bundle_by_its_identity_may_be_cached_for_ever(client, publish):
    identity = publish(percent=0)
    answer = client.get(f"/v1/bundles/{identity.hex()}", headers={"Accept-Encoding": "identity"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert zipfile.is_zipfile(io.BytesIO(answer.content))
    assert client.get(f"/v1/bundles/{bytes(32).hex()}").status_code == 404
    assert client.get("/v1/bundles/nonsense").status_code == 404


def test_rollout_halt_and_rollback(client, publish, change):
    """At 50% some of 40 devices have the new one; halted, they keep it and get no more; rolled back, all are offered
    the old one."""
    old, new = publish(), publish(percent=50, parent=b"p" * 32)
    names = [f"device-{number}" for number in range(40)]

    def holders(**headers):
        return {name for name in names if fetched(client, name, **headers).headers["dccl-bundle"] == new.hex()}

    early = holders()
    assert 8 < len(early) < 32  # four standard deviations
    change(new, state="halted")
    assert holders() == set()
    assert holders(**{"If-None-Match": f'"{new.hex()}"'}) == set(names)  # whoever says that it has it
    change(new, state="active", percent=100)
    assert holders() == set(names)
    change(new, state="rolled_back")
    assert holders(**{"If-None-Match": f'"{new.hex()}"'}) == set()
    assert fetched(client).headers["dccl-bundle"] == old.hex()


def test_releases_are_listed_newest_first(client, operator, publish):
    first, second = publish(), publish(percent=10, parent=b"p" * 32)
    listed = client.get("/v1/operator/bundles", headers=operator).json()["bundles"]
    assert [(one["bundle"], one["percent"], one["state"]) for one in listed] == [
        (second.hex(), 10, "active"),
        (first.hex(), 100, "active"),
    ]


def test_a_bundle_cannot_be_published_twice(client, operator, publish, tmp_path):
    publish()
    content = (tmp_path / "bundle.zip").read_bytes()
    answer = client.post("/v1/operator/bundles", content=content, headers=operator | ZIP)
    assert (answer.status_code, "published before" in answer.json()["detail"]) == (409, True)


def test_a_damaged_bundle_is_not_published(client, operator, tmp_path):
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in TINY.iterdir():
            archive.writestr(file.name, file.read_bytes()[:-1] if file.suffix == ".tflite" else file.read_bytes())
    answer = client.post("/v1/operator/bundles", content=path.read_bytes(), headers=operator | ZIP)
    assert answer.status_code == 422
    assert "model.tflite: expected SHA-256" in answer.json()["detail"]
    assert client.get("/v1/operator/bundles", headers=operator).json() == {"bundles": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"percent": 101}, "percent: expected 0 to 100, got 101"),
        ({"percent": True}, "percent: expected int or float"),
        ({"percent": float("nan")}, "percent: expected 0 to 100, got nan"),
        ({"state": "gone"}, "state: expected one of active, halted, rolled_back, got 'gone'"),
        ({"stat": "halted"}, "body: expected a JSON object with percent and state, or one of them"),
        ({}, "body: expected a JSON object with percent and state, or one of them"),
    ],
)
def test_an_impossible_change_is_named(client, operator, publish, change, message):
    headers = operator | {"Content-Type": "application/json"}
    answer = client.patch(f"/v1/operator/bundles/{publish().hex()}", content=json.dumps(change), headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (422, message)


def test_files_may_lie_wherever_fsspec_reaches(tmp_path):
    """In memory here, as it could be a bucket."""
    collector = Collector.open(Settings(data_dir=tmp_path / "c", bundles="memory://bundles"))
    release = collector.publish(TINY, percent=100)
    assert release.bundle == tiny_identity()
    files = list(collector.files.read(release.bundle, "identity", 0, release.sizes["identity"]))
    assert zipfile.is_zipfile(io.BytesIO(b"".join(files)))
    collector.close()


def test_a_publication_is_heard_by_another_process_of_the_same_store(settings, client):
    """Within a second: the answer from memory is that old at most."""
    other = Collector.open(settings)
    assert fetched(client).status_code == 404
    other.publish(TINY, percent=100)
    time.sleep(1.01)
    assert fetched(client).status_code == 200
    other.close()


def test_statistics_count_vectors_of_each_bundle(client, operator, publish):
    identity = publish(parent=b"p" * 32)
    evidence = dccl_pb2.Evidence(heldout_samples=3, cloud_loss=0.5, personal_loss=0.25, gate=1.0)
    send(client, SmallDevice.registered(client).body(bundle=identity, evidence=evidence))
    send(client, SmallDevice.registered(client).body(bundle=identity, vector=[0.0] * TINY_K))
    send(client, b"noise")
    found = client.get("/v1/operator/statistics", headers=operator).json()
    (bundle,) = [one for one in found["bundles"] if one["identity"] == identity.hex()]
    assert (found["devices"], found["rejected"]) == (2, {"MALFORMED": 1})
    assert (bundle["vectors"], bundle["samples"], bundle["with_evidence"]) == (2, 18, 1)
    assert (bundle["mean_gate"], bundle["mean_gain"]) == (1.0, 0.25)
