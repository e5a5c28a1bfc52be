"""A release of lethe's in the eyes of independent implementations.

usage: package.py LETHE

GNU tar and zstd unpack it; sha256sum and md5sum agree with its lists; bagit accepts the bag, Croissant's
own library reads the description and its records, the BIDS validator finds no error, and ro-crate-py
and the RO-Crate validator accept the crate. Each check prints one line; any that does not hold ends the
run with exit code 1.

The RO-Crate validator wants its JSON-LD context from the web. It gets the copy that ro-crate-py brings,
and the two checks that ask whether the web answers (3.1 and 3.2) are left out.
"""
import email.message
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
import urllib.response

import bagit
import mlcroissant
import nibabel
import numpy
import rocrate
import rocrate.rocrate

lethe = sys.argv[1]
plan = """
name: conformance
seed: 5
ingest: { source: cohort, size: 16, holdout: 0.4 }
train: { model: stylegan2, batch: 4, images: 8, stylegan2: { z_width: 8, w_width: 8, channel_base: 128, channel_max: 8 } }
sample: { count: 6 }
audit: { quantile: 0.9, pairs: 2 }
policy: { rows: [ { metric: memorization.flagged.fraction, bound: upper95, limit: 1 } ] }
package:
  title: "Brains that never were: ünïcode, \\"quotes\\" & all"
  licence: CC-BY-4.0
  creators: [ A. Author, B. Author ]
  publisher: An institution
  contact: hub@institution.example
  date: 2026-11-22
  keywords: [ synthetic, brain ]
  keep_tree: true
"""


def run(*arguments, **options):
    result = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{arguments[0]}: {result.stdout}{result.stderr}"
    return result.stdout


def make(folder):
    run(lethe, "phantom", "--subjects", 6, "--size", 32, "--seed", 3, "--out", folder / "cohort", "--quiet")
    (folder / "plan.yaml").write_text(plan)
    run(lethe, "run", folder / "plan.yaml", "--quiet")
    release = folder / "run/release"
    (folder / "x").mkdir()
    run("tar", "--zstd", "-xf", release / "conformance-1.0.0.tar.zst", "-C", folder / "x")
    return release, folder / "x/conformance-1.0.0"


def check_tar(release, tree):
    """GNU tar and zstd unpack exactly the tree"""
    run("zstd", "-t", release / "conformance-1.0.0.tar.zst")
    run("diff", "-r", release / "conformance-1.0.0", tree)


def check_sums(release, tree):
    """sha256sum and md5sum agree"""
    run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=release)
    run("md5sum", "--strict", "-c", "MD5SUMS", cwd=release)


def check_bag(release, tree):
    """bagit finds a valid bag, and a changed byte in it"""
    bag = bagit.Bag(str(tree))
    bag.validate(processes=1)
    assert sorted(bag.algorithms) == ["sha256", "sha512"]
    card = tree / "data/README.md"
    text = card.read_text()
    card.write_text(text.replace("a", "b", 1))
    assert not bagit.Bag(str(tree)).is_valid()
    card.write_text(text)
    assert bagit.Bag(str(tree)).is_valid()


def check_croissant(release, tree):
    """Croissant's library reads the description without a complaint, and the records"""
    dataset = mlcroissant.Dataset(jsonld=str(tree / "data/croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors, issues.errors
    records = list(dataset.records(record_set="images"))
    assert len(records) == 6 and all(record["images/synthetic"] for record in records)


def check_bids(release, tree):
    """the BIDS validator finds no error"""
    validator = pathlib.Path(sys.executable).parent / "bids-validator-deno"
    result = subprocess.run([validator, tree / "data", "--json"], capture_output=True, text=True)
    issues = json.loads(result.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue["severity"] == "error"]
    assert not errors, errors


def check_crate(release, tree):
    """ro-crate-py reads the crate, and finds the files that it tells of"""
    crate = rocrate.rocrate.ROCrate(str(tree / "data"))
    assert crate.name.startswith("Brains that never were: ünïcode")
    for entity in crate.get_by_type("File"):
        assert (tree / "data" / entity.id).is_file(), entity.id


class Context(urllib.request.BaseHandler):
    handler_order = 100
    content = next(pathlib.Path(rocrate.__file__).parent.rglob("ro-crate.jsonld")).read_bytes()

    def https_open(self, request):
        head = email.message.Message()
        head["Content-Type"] = "application/ld+json"
        response = urllib.response.addinfourl(io.BytesIO(self.content), head, request.full_url, 200)
        response.msg = "OK"
        return response


def check_crate_rules(release, tree):
    """the RO-Crate validator finds nothing required amiss"""
    urllib.request.install_opener(urllib.request.build_opener(Context))
    from rocrate_validator import models, services

    settings = services.ValidationSettings(
        rocrate_uri=str(tree / "data"),
        profile_identifier="ro-crate-1.1",
        requirement_severity=models.Severity.REQUIRED,
        skip_checks=["ro-crate-1.1_3.1", "ro-crate-1.1_3.2"],
    )
    issues = services.validate(settings).get_issues()
    assert not issues, [f"{issue.check.identifier}: {issue.message}" for issue in issues]


def check_volumes(release, tree):
    """nibabel reads the pixels of the store, and the marker"""
    images = numpy.load(release.parent / "synthetic/images.npy")
    for i in range(len(images)):
        anat = tree / f"data/sub-synth{i:08}/anat"
        for channel, name in enumerate(["T1w", "ce-gadolinium_T1w", "T2w", "FLAIR"]):
            volume = nibabel.load(anat / f"sub-synth{i:08}_{name}.nii.gz")
            assert numpy.array_equal(numpy.asarray(volume.dataobj)[..., 0].T, images[i, channel])
            assert b"synthetic" in bytes(volume.header["intent_name"])


def main():
    with tempfile.TemporaryDirectory() as name:
        os.environ["HOME"] = name  # the validators' caches
        release, tree = make(pathlib.Path(name))
        for check in (check_tar, check_sums, check_bag, check_croissant, check_bids, check_crate,
                      check_crate_rules, check_volumes):
            check(release, tree)
            print(f"ok: {check.__doc__}")


main()
