package dccl.jvm

import dccl.core.Personalizer
import java.io.File
import org.junit.Rule
import org.junit.rules.TemporaryFolder

/** What tests of a device share: its folder, and a device in it, new or with something learned. */
abstract class DeviceTests {
    @get:Rule
    val folder = TemporaryFolder()
    protected val home by lazy { File(folder.root, "device") }

    protected fun device(use: (Personalizer) -> Unit) = Fixtures.device(home).use(use)

    protected fun trained(use: (Personalizer) -> Unit) = device {
        it.logMany(Fixtures.interactions())
        it.personalize()
        use(it)
    }
}
