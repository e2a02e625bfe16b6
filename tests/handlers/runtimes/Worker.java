// A handler that does what Java programs do: each event names a job, the answer is its result.
//
// What goes wrong is answered as "failed: …", so that a test sees what a policy refuses. The jobs
// from `read` on are those that no policy lets a handler do. The JDK's own classes only.
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.security.Signature;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.logging.Logger;
import java.util.stream.IntStream;

public final class Worker {
  private static final int MIB = 1 << 20;

  // The same number in every language of this folder.
  private static long work(int seed) {
    int value = seed;
    for (int i = 0; i < 100_000; ++i) value = value * 1103515245 + 12345 & 0x7fffffff;
    return value;
  }

  private static String threads() throws Exception {
    var executor = Executors.newFixedThreadPool(8);
    try {
      List<Callable<Long>> tasks = new ArrayList<>();
      for (int i = 1; i <= 8; ++i) {
        int seed = i;
        tasks.add(() -> work(seed));
      }
      long sum = 0;
      for (Future<Long> one : executor.invokeAll(tasks)) sum += one.get();
      return Long.toString(sum);
    } finally {
      executor.shutdown();
      executor.awaitTermination(10, TimeUnit.SECONDS);
    }
  }

  // The common pool, timers, streams in parallel.
  private static String parallel() throws Exception {
    long sum = IntStream.rangeClosed(1, 8).parallel().mapToLong(Worker::work).sum();
    var later = CompletableFuture.delayedExecutor(10, TimeUnit.MILLISECONDS);
    return Long.toString(CompletableFuture.supplyAsync(() -> sum, later).get());
  }

  // More than the heap holds, beside something that stays.
  private static String gc() {
    List<byte[]> kept = new ArrayList<>();
    for (int i = 0; i < 16; ++i) kept.add(new byte[MIB]);
    long dropped = 0;
    for (int i = 0; i < 1000; ++i) dropped += new byte[MIB].length;
    System.gc();
    long runs = ManagementFactory.getGarbageCollectorMXBeans().stream()
        .mapToLong(collector -> collector.getCollectionCount()).sum();
    return runs > 0 && kept.size() == 16 ? Long.toString(dropped / MIB) : "nothing was collected";
  }

  private static String heap() {
    return Long.toString(Runtime.getRuntime().maxMemory() / MIB);
  }

  // A thread for each processor, as many programs have it, all of them at once.
  private static String processors() throws Exception {
    int count = Runtime.getRuntime().availableProcessors();
    var all = new CountDownLatch(count);
    var executor = Executors.newFixedThreadPool(count);
    try {
      for (int i = 0; i < count; ++i)
        executor.submit(() -> {
          all.countDown();
          all.await();
          return null;
        });
      all.await();
      return Integer.toString(count);
    } finally {
      executor.shutdownNow();
    }
  }

  // Two of these are SIGSEGVs that the JVM catches.
  private static String exceptions() {
    String caught = "";
    try {
      ((Object) null).hashCode();
    } catch (NullPointerException expected) {
      caught += "null";
    }
    try {
      forEver(0);
    } catch (StackOverflowError expected) {
      caught += " stack";
    }
    try {
      caught += new long[Integer.MAX_VALUE - 8].length;
    } catch (OutOfMemoryError expected) {
      caught += " memory";
    }
    return caught;
  }

  private static int forEver(int depth) {
    return forEver(depth + 1) + 1;
  }

  private static int deeper(int left) {
    return left == 0 ? 0 : 1 + deeper(left - 1);
  }

  private static String recursion() throws Exception {
    int[] depth = {0};
    var thread = new Thread(null, () -> depth[0] = deeper(20_000), "deep", 64L * MIB);
    thread.start();
    thread.join();
    return Integer.toString(depth[0]);
  }

  private static String files() throws IOException {
    Path place = Files.createTempDirectory("worker");
    Files.write(place.resolve("a"), new byte[MIB]);
    Files.move(place.resolve("a"), place.resolve("b"));
    Files.createLink(place.resolve("c"), place.resolve("b"));
    Files.createSymbolicLink(place.resolve("d"), Path.of("b"));
    try (var channel = FileChannel.open(place.resolve("b"), StandardOpenOption.READ)) {
      channel.map(FileChannel.MapMode.READ_ONLY, 0, MIB).load();
    }
    long size = Files.size(place.resolve("d"));
    List<Path> all;
    try (var listed = Files.list(place)) {
      all = listed.toList();
    }
    for (Path one : all) Files.delete(one);
    Files.delete(place);
    return size + " " + all.size();
  }

  private static String copy() throws IOException {
    Path from = Files.createTempFile("worker", "");
    Path to = Path.of(from + ".copy");
    Files.writeString(from, "one");
    Files.copy(from, to, StandardCopyOption.COPY_ATTRIBUTES);
    String mode = PosixFilePermissions.toString(Files.getPosixFilePermissions(to));
    Files.delete(from);
    Files.delete(to);
    return mode;
  }

  private static String memory() {
    ByteBuffer direct = ByteBuffer.allocateDirect(64 * MIB);
    byte[] taken = new byte[128 * MIB];
    for (int at = 0; at < taken.length; at += 4096) taken[at] = direct.get(at / 2);
    return Integer.toString((taken.length + direct.capacity()) / MIB);
  }

  private static String subprocess() throws Exception {
    var shell = new ProcessBuilder("sh", "-c", "echo hello | tr a-z A-Z").start();
    String said = new String(shell.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return shell.waitFor() == 0 ? said.strip() : "failed";
  }

  private static String crypto() throws Exception {
    var pairs = KeyPairGenerator.getInstance("EC");
    pairs.initialize(256, new SecureRandom());
    var pair = pairs.generateKeyPair();
    var signature = Signature.getInstance("SHA256withECDSA");
    signature.initSign(pair.getPrivate());
    signature.sign();
    byte[] digest = MessageDigest.getInstance("SHA-256").digest();
    return HexFormat.of().formatHex(digest).substring(0, 8);
  }

  private static String zone() {
    return LocalDateTime.of(2026, 7, 1, 10, 0).atZone(ZoneId.of("UTC"))
        .withZoneSameInstant(ZoneId.of("Europe/Berlin")).toOffsetDateTime().toString();
  }

  // How many places a line of the log goes to: stderr, unless the JDK's configuration is not there.
  private static String logging() {
    return Integer.toString(Logger.getLogger("").getHandlers().length);
  }

  private static String read(String path) throws IOException {
    return Files.readString(Path.of(path)).split("\n")[0];
  }

  private static String write(String path) throws IOException {
    return Integer.toString((int) Files.size(Files.writeString(Path.of(path), "written")));
  }

  private static String connect(String port) throws IOException {
    try (var socket = new Socket()) {
      socket.connect(new InetSocketAddress("127.0.0.1", Integer.parseInt(port)), 5000);
      return "connected";
    }
  }

  // No system call of its choice: a program makes it.
  private static String unshare() throws Exception {
    int status = new ProcessBuilder("unshare", "--user", "true").start().waitFor();
    return status == 0 ? "0" : "failed: " + status;
  }

  private static String answer(String event) {
    String[] words = event.split(" ");
    try {
      return switch (words[0]) {
        case "threads" -> threads();
        case "parallel" -> parallel();
        case "gc" -> gc();
        case "heap" -> heap();
        case "processors" -> processors();
        case "exceptions" -> exceptions();
        case "recursion" -> recursion();
        case "files" -> files();
        case "copy" -> copy();
        case "memory" -> memory();
        case "subprocess" -> subprocess();
        case "crypto" -> crypto();
        case "zone" -> zone();
        case "logging" -> logging();
        case "read" -> read(words[1]);
        case "write" -> write(words[1]);
        case "connect" -> connect(words[1]);
        case "unshare" -> unshare();
        default -> "unknown: " + words[0];
      };
    } catch (Exception | Error failure) {  // Whatever it is, the test is to read it.
      return "failed: " + failure;
    }
  }

  // ---- The protocol; greeter.py explains it. ----

  private static byte[] readFrame(DataInputStream in) throws IOException {
    byte[] body = new byte[in.readInt()];
    in.readFully(body);
    return body;
  }

  private static String dataOf(byte[] event) {
    int at = 1;
    while (event[at] < 0) ++at;
    return new String(event, at + 1, event.length - at - 1, StandardCharsets.UTF_8);
  }

  private static void writeResult(DataOutputStream out, byte[] data) throws IOException {
    int varint = 1;
    for (int size = data.length; size >= 0x80; size >>>= 7) ++varint;
    out.writeInt(1 + varint + data.length);
    out.write(0x12);
    int size = data.length;
    for (; size >= 0x80; size >>>= 7) out.write(size & 0x7f | 0x80);
    out.write(size);
    out.write(data);
    out.flush();
  }

  public static void main(String[] args) throws IOException {
    var in = new DataInputStream(System.in);
    var out = new DataOutputStream(
        new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)));
    System.setOut(System.err);
    for (;;) {
      byte[] event;
      try {
        event = readFrame(in);
      } catch (EOFException end) {
        return;
      }
      readFrame(in);  // The execution context.
      writeResult(out, answer(dataOf(event)).getBytes(StandardCharsets.UTF_8));
    }
  }
}
