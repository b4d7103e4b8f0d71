import java.io.File;
import java.io.FileInputStream;
import java.util.List;
import java.util.Set;
import org.codehaus.mojo.animal_sniffer.SignatureChecker;
import org.codehaus.mojo.animal_sniffer.logging.PrintWriterLogger;

/** Fails if classes use what the oldest Android that is promised lacks: MinSdk SIGNATURES CLASSES... */
public class MinSdk {
    public static void main(String[] arguments) throws Exception {
        // Ours, and what the app brings along; everything else must be in that Android's own classes.
        Set<String> ours = Set.of("dccl.*", "kotlin.*", "com.google.protobuf.*", "org.tensorflow.lite.*");
        try (var signatures = new FileInputStream(arguments[0])) {
            var checker = new SignatureChecker(signatures, ours, new PrintWriterLogger(System.err));
            checker.setSourcePath(List.of());
            for (int place = 1; place < arguments.length; place++) {
                checker.process(new File(arguments[place]));
            }
            System.exit(checker.isSignatureBroken() ? 1 : 0);
        }
    }
}
