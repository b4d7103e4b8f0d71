pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

plugins {
    id("org.gradle.toolchains.foojay-resolver-convention") version "1.0.0" // a JDK for dccl-jvm
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "dccl-android-demo"

// What an app takes over: the first two. dccl-jvm runs the tests without a phone.
include(":dccl-core", ":dccl-android", ":dccl-jvm", ":app")
