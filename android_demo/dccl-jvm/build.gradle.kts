plugins {
    `java-library`
    alias(libs.plugins.kotlin.jvm)
}

// java.lang.foreign, through which LiteRT's C library is called, is in Java 22 and newer.
kotlin {
    jvmToolchain(24)
}

dependencies {
    api(project(":dccl-core"))
    implementation(libs.sqlite.jdbc)
    testImplementation(libs.junit)
}

// The tests need libLiteRt.so of the Python wheel ai-edge-litert 2.3, and what Python writes for them:
//   python -m tests.android.exchange FOLDER
//   dccl-serve --data_dir=FOLDER/collector --enrolment_token_file=FOLDER/collector/enrolment_token
//   ./gradlew :dccl-jvm:test -Pdccl.litert=.../ai_edge_litert/libLiteRt.so -Pdccl.exchange=FOLDER \
//     -Pdccl.collector=http://127.0.0.1:8080
// Without them they are skipped. scripts/test_android.sh runs them with all they need, without Gradle.
tasks.test {
    jvmArgs("--enable-native-access=ALL-UNNAMED")
    systemProperty("dccl.repository", rootDir.parentFile.path)
    for (name in listOf("dccl.litert", "dccl.exchange", "dccl.collector")) {
        providers.gradleProperty(name).orNull?.let { systemProperty(name, it) }
    }
}
