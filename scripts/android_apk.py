"""What Gradle does of an APK besides compiling, for scripts/test_android.sh, which has no Gradle.

android_apk.py manifest ANDROID_DEMO              prints the app's manifest with the library's merged into it
android_apk.py add APK CLASSES_DEX LIB_FOLDER     adds code and native libraries to an APK of resources
android_apk.py sizes APK                          prints its size by part; fails if a part that it must have is missing
"""

import sys
import tomllib
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from pathlib import Path

ANDROID = "http://schemas.android.com/apk/res/android"
REQUIRED = ("AndroidManifest.xml", "classes.dex", "resources.arsc", "assets/bundle.zip", "assets/demo.json")
# What is looked up by name: by the system, by a layout, by TFLite's native library.
KEPT = ("dccl/android/PersonalizeJob", "dccl/demo/VectorView", "org/tensorflow/lite/NativeInterpreterWrapper")
ABIS = ("arm64-v8a", "armeabi-v7a", "x86", "x86_64")


def manifest(demo: Path) -> None:
    """Prints the merged manifest with the versions of the catalogue."""
    ElementTree.register_namespace("android", ANDROID)
    versions = tomllib.loads((demo / "gradle/libs.versions.toml").read_text())["versions"]
    app, library = (
        ElementTree.parse(demo / module / "src/main/AndroidManifest.xml").getroot()
        for module in ("app", "dccl-android")
    )
    app.set("package", "dccl.demo")
    app.set(f"{{{ANDROID}}}versionCode", "1")
    app.set(f"{{{ANDROID}}}versionName", "1.0")
    sdk = {f"{{{ANDROID}}}{name}SdkVersion": versions[f"{name}-sdk"] for name in ("min", "target")}
    app.insert(0, ElementTree.Element("uses-sdk", sdk))
    for element in library:
        if element.tag == "application":
            app.find("application").extend(element)
        else:
            app.insert(1, element)
    print(ElementTree.tostring(app, encoding="unicode"))


def add(apk: Path, dex: Path, libraries: Path) -> None:
    """Libraries are stored, not compressed: Android 6 and newer map them from the APK."""
    with zipfile.ZipFile(apk, "a") as archive:
        archive.write(dex, "classes.dex", zipfile.ZIP_DEFLATED)
        for library in sorted(libraries.glob("*/*.so")):
            archive.write(library, f"lib/{library.relative_to(libraries)}", zipfile.ZIP_STORED)


def sizes(apk: Path) -> None:
    """Raises SystemExit if a part is missing."""
    with zipfile.ZipFile(apk) as archive:
        entries = archive.infolist()
        dex = archive.read("classes.dex") if "classes.dex" in archive.namelist() else b""
    required = {*REQUIRED, *(f"lib/{abi}/libtensorflowlite_jni.so" for abi in ABIS)}
    missing = required - {entry.filename for entry in entries}
    if missing:
        needed, absent = (", ".join(sorted(names)) for names in (required, missing))
        raise SystemExit(f"{apk}: expected {needed} in it, got none of {absent}")
    shrunk_away = [name for name in KEPT if f"L{name};".encode() not in dex]
    if shrunk_away:
        raise SystemExit(f"{apk}: expected the classes {', '.join(KEPT)} in it, got none of {', '.join(shrunk_away)}")
    parts = Counter()
    for entry in entries:
        parts[_part(entry.filename)] += entry.compress_size
    whole = apk.stat().st_size
    parts["signature, index and padding"] = whole - parts.total()
    one = whole - sum(size for name, size in parts.items() if name.startswith("lib/") and ABIS[0] not in name)
    for name, size in parts.most_common():
        print(f"   {size / 1000:9.1f} kB  {name}")
    print(f"   {whole / 1000:9.1f} kB  in all, for four kinds of processor; {one / 1000:.1f} kB for {ABIS[0]} alone")


def _part(name: str) -> str:
    if name.startswith(("lib/", "assets/")):
        return name
    return "classes.dex" if name.endswith(".dex") else "resources and manifest"


if __name__ == "__main__":
    {"manifest": manifest, "add": add, "sizes": sizes}[sys.argv[1]](*map(Path, sys.argv[2:]))
