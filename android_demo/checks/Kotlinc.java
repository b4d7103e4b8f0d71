import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler;

/** Runs Kotlin's compiler once for each line of a file, words apart by tabs, in one JVM that warms up once. */
public class Kotlinc {
    public static void main(String[] arguments) throws Exception {
        List<String> runs = Files.readAllLines(Path.of(arguments[0]));
        for (String run : runs) {
            String[] words = Arrays.stream(run.split("\t")).filter(word -> !word.isEmpty()).toArray(String[]::new);
            int code = new K2JVMCompiler().exec(System.err, words).getCode();
            if (code != 0) {
                System.exit(code);
            }
        }
    }
}
