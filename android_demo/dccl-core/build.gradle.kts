plugins {
    `java-library`
    alias(libs.plugins.kotlin.jvm)
    alias(libs.plugins.protobuf)
}

// Classes for Android's tools, whichever JDK builds them.
java {
    sourceCompatibility = JavaVersion.VERSION_11
    targetCompatibility = JavaVersion.VERSION_11
}

kotlin.compilerOptions {
    jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11
    allWarningsAsErrors = true
}

// The wire is the repository's own: dccl.proto stands beside the Python package that speaks it.
sourceSets.main {
    extensions.configure<SourceDirectorySet>("proto") { srcDir("../../protos") }
}

protobuf {
    protoc { artifact = libs.protoc.get().toString() }
    generateProtoTasks {
        all().configureEach {
            builtins { named("java") { option("lite") } }
        }
    }
}

dependencies {
    api(libs.protobuf.javalite)
    testImplementation(libs.junit)
}
