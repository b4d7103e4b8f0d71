package dccl.android

import android.content.Context
import dccl.core.Bundle
import dccl.core.BundleError
import java.io.File

/**
 * The bundle that the app ships in its assets, unpacked into its files once for each installed version of the app. A
 * device copies it, so those of earlier versions can go.
 *
 * @param asset the zip's name; give it `noCompress` in Gradle if it is large, it is compressed already.
 * @throws BundleError the zip is damaged.
 */
fun assetBundle(context: Context, asset: String = "bundle.zip"): Bundle {
    val installed = context.packageManager.getPackageInfo(context.packageName, 0).lastUpdateTime
    val folder = File(context.noBackupFilesDir, "dccl/bundle-$installed")
    if (folder.isDirectory) {
        try {
            return Bundle.open(folder)
        } catch (_: BundleError) { // damaged on the disk: the asset is whole
            folder.deleteRecursively()
        }
    }
    folder.parentFile?.listFiles { file -> file.name.startsWith("bundle-") }?.forEach { it.deleteRecursively() }
    folder.parentFile?.mkdirs()
    return context.assets.open(asset).use { Bundle.unpack(it, folder) }
}
