import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

/** pgjdbc: server-side statements after the first use, batches, fetch size by portals, savepoints, CopyManager. */
public class PgjdbcProgram {
  static final int CLIENTS = 8;
  static final int TRANSACTIONS = 40;
  static final long BLOB_TOTAL = 10000L * 1000;
  static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in));
  static String trust;
  static String scram;
  static long key;

  interface Feature {
    String act() throws Exception;
  }

  interface Use {
    void act(Connection connection) throws Exception;
  }

  /** A JDBC URL for a URL of libpq's kind. */
  static Connection connect(String url, String options) throws Exception {
    URI parts = URI.create(url);
    String[] user = parts.getUserInfo().split(":");
    String password = user.length > 1 ? "&password=" + user[1] : "";
    return DriverManager.getConnection(
        "jdbc:postgresql://" + parts.getHost() + ":" + parts.getPort() + parts.getPath() + "?user=" + user[0] + password + options);
  }

  static String using(String options, Use use) throws Exception {
    return using(trust, options, use);
  }

  static String using(String url, String options, Use use) throws Exception {
    try (Connection connection = connect(url, options)) {
      use.act(connection);
    }
    return "";
  }

  static void expect(Object found, Object wanted) {
    if (!Objects.deepEquals(found, wanted)) {
      throw new AssertionError("expected " + wanted + ", got " + found);
    }
  }

  static PreparedStatement bound(Connection connection, String sql, Object... values) throws SQLException {
    PreparedStatement statement = connection.prepareStatement(sql);
    for (int i = 0; i < values.length; i++) {
      statement.setObject(i + 1, values[i]);
    }
    return statement;
  }

  static int run(Connection connection, String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = bound(connection, sql, values)) {
      return statement.executeUpdate();
    }
  }

  static Object one(Connection connection, String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = bound(connection, sql, values);
        ResultSet found = statement.executeQuery()) {
      return found.next() ? found.getObject(1) : null;
    }
  }

  static Object item(Connection connection, long id) throws SQLException {
    return one(connection, "SELECT name FROM items WHERE user_id = ? AND id = ?", key, id);
  }

  static void execute(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  static void expectError(String code, Use use, Connection connection) throws Exception {
    try {
      use.act(connection);
    } catch (SQLException error) {
      if (!code.equals(error.getSQLState())) {
        throw error;
      }
      return;
    }
    throw new AssertionError("no error " + code);
  }

  static String selectOne(String url, String options) throws Exception {
    return using(url, options, c -> expect(one(c, "SELECT 1"), 1));
  }

  static void simpleQuery(Connection c) throws Exception {
    run(c, "INSERT INTO items (user_id, id, name) VALUES (" + key + ", 1, 'one')");
    expect(item(c, 1), "one");
  }

  static void parametersText(Connection c) throws Exception {
    run(c, "INSERT INTO items (user_id, id, name) VALUES (?, ?, ?)", key, 2, "it's 'two' \\");
    expect(item(c, 2), "it's 'two' \\");
  }

  /** From the second use on (prepareThreshold=1) integers, and results, travel in binary. */
  static void parametersBinary(Connection c) throws Exception {
    run(c, "INSERT INTO items (user_id, id, name) VALUES (?, ?, ?)", key, 3, "three");
    try (PreparedStatement statement = bound(c, "SELECT id, name FROM items WHERE user_id = ? AND id = ?", key, 3L)) {
      for (int i = 0; i < 5; i++) {
        try (ResultSet found = statement.executeQuery()) {
          expect(found.next(), true);
          expect(found.getLong(1), 3L);
          expect(found.getString(2), "three");
        }
      }
    }
  }

  static String prepared() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(CLIENTS);
    try {
      List<Future<String>> clients = new ArrayList<>();
      for (int n = 0; n < CLIENTS; n++) {
        int i = n;
        clients.add(threads.submit((Callable<String>) () -> using("&prepareThreshold=1", c -> preparedClient(c, i))));
      }
      for (Future<String> client : clients) {
        client.get();
      }
    } finally {
      threads.shutdownNow();
    }
    return "";
  }

  /** Every connection calls its statement S_1, each with another text. */
  static void preparedClient(Connection c, int i) throws Exception {
    c.setAutoCommit(false);
    try (PreparedStatement statement = bound(c, "SELECT name, " + i + " FROM items WHERE user_id = ? AND id = ?", key, 1L)) {
      for (int n = 0; n < TRANSACTIONS; n++) {
        try (ResultSet found = statement.executeQuery()) {
          expect(found.next(), true);
          expect(found.getString(1) + found.getInt(2), "one" + i);
        }
        c.commit();
      }
    }
  }

  static void pipeline(Connection c) throws Exception {
    try (PreparedStatement statement = c.prepareStatement("INSERT INTO items (user_id, id, name) VALUES (?, ?, 'batch')")) {
      for (int n = 100; n < 150; n++) {
        statement.setLong(1, key);
        statement.setLong(2, n);
        statement.addBatch();
      }
      statement.executeBatch();
    }
    expect(one(c, "SELECT count(*) FROM items WHERE user_id = ? AND name = 'batch'", key), 50L);
  }

  static void transaction(Connection c) throws Exception {
    c.setAutoCommit(false);
    run(c, "INSERT INTO items (user_id, id, name) VALUES (?, 200, 'kept')", key);
    Savepoint savepoint = c.setSavepoint();
    run(c, "INSERT INTO items (user_id, id, name) VALUES (?, 201, 'undone')", key);
    c.rollback(savepoint);
    c.commit();
    run(c, "DELETE FROM items WHERE user_id = ? AND id = 200", key);
    c.rollback();
    expect(one(c, "SELECT string_agg(name, ',') FROM items WHERE user_id = ? AND id BETWEEN 200 AND 201", key), "kept");
    c.commit();
  }

  static CopyManager copies(Connection c) throws SQLException {
    return c.unwrap(PGConnection.class).getCopyAPI();
  }

  static void copyIn(Connection c) throws Exception {
    StringBuilder lines = new StringBuilder();
    for (int n = 300; n < 400; n++) {
      lines.append(key).append('\t').append(n).append("\tcopied\n");
    }
    copies(c).copyIn("COPY items (user_id, id, name) FROM STDIN", new StringReader(lines.toString()));
    expect(one(c, "SELECT count(*) FROM items WHERE user_id = ? AND name = 'copied'", key), 100L);
  }

  static void copyOut(Connection c) throws Exception {
    StringWriter found = new StringWriter();
    copies(c).copyOut("COPY (SELECT id, name FROM items WHERE user_id = " + key + " AND id = 1) TO STDOUT", found);
    expect(found.toString(), "1\tone\n");
  }

  static void listenNotify(Connection listener) throws Exception {
    execute(listener, "LISTEN channel_" + key);
    using("", c -> execute(c, "NOTIFY channel_" + key + ", 'hello'"));
    PGNotification[] heard = listener.unwrap(PGConnection.class).getNotifications(15000);
    expect(heard == null ? 0 : heard.length, 1);
    expect(heard[0].getName() + heard[0].getParameter(), "channel_" + key + "hello");
    execute(listener, "UNLISTEN *");
  }

  static void cancel(Connection c) throws Exception {
    try (Statement statement = c.createStatement()) {
      CountDownLatch ended = new CountDownLatch(1);
      Thread canceller = new Thread(() -> {   // a cancel that comes before its statement does nothing
        try {
          while (!ended.await(100, TimeUnit.MILLISECONDS)) statement.cancel();
        } catch (InterruptedException | SQLException error) {
          System.err.println(error);
        }
      });
      canceller.start();
      expectError("57014", same -> statement.execute("SELECT pg_sleep(60)"), c);
      ended.countDown();
      canceller.join();
    }
    expect(one(c, "SELECT 1"), 1);
  }

  static void statementTimeout(Connection c) throws Exception {
    execute(c, "SET statement_timeout = '100ms'");
    expectError("57014", same -> execute(same, "SELECT pg_sleep(60)"), c);
    expect(one(c, "SELECT 1"), 1);
  }

  static void settings(Connection first) throws Exception {
    using("", other -> {
      execute(first, "SET search_path = pg_catalog, public");
      execute(first, "SET TimeZone = 'Asia/Tokyo'");
      expect("Asia/Tokyo".equals(one(other, "SHOW TimeZone")), false);
      expect(one(first, "SHOW search_path"), "pg_catalog, public");
      expect(one(first, "SHOW TimeZone"), "Asia/Tokyo");
    });
  }

  static void startupOptions(Connection c) throws Exception {
    using("", other -> expect(one(other, "SHOW statement_timeout"), "0"));
    expect(one(c, "SHOW application_name"), "drivers");
    expect(one(c, "SHOW statement_timeout"), "12345ms");
    expect(one(c, "SHOW search_path"), "public");
  }

  static void types(Connection c) throws Exception {
    Integer[] numbers = {1, null, 3};
    String[] words = {"a,b", "c\"d", ""};
    OffsetDateTime at = OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789012000, ZoneOffset.UTC);
    BigDecimal amount = new BigDecimal("12345678901234567890.123456789");
    run(c, "INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES (?, 1, ?, ?, ?::jsonb, ?, ?)", key,
        c.createArrayOf("int4", numbers), c.createArrayOf("text", words), "{\"k\": [1, null, \"ä\"]}", at, amount);
    try (PreparedStatement statement = bound(c, "SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = ? AND id = 1", key)) {
      for (int i = 0; i < 3; i++) {
        try (ResultSet found = statement.executeQuery()) {
          expect(found.next(), true);
          expect(found.getArray(1).getArray(), numbers);
          expect(found.getArray(2).getArray(), words);
          expect(found.getString(3), "{\"k\": [1, null, \"ä\"]}");
          expect(found.getObject(4, OffsetDateTime.class).toInstant(), at.toInstant());
          expect(found.getBigDecimal(5), amount);
        }
      }
    }
  }

  static void largeResult(Connection c) throws Exception {
    c.setAutoCommit(false);
    long total = 0;
    try (PreparedStatement statement = bound(c, "SELECT id, body FROM blobs WHERE user_id = ? ORDER BY id", 7L)) {
      statement.setFetchSize(500);
      try (ResultSet found = statement.executeQuery()) {
        while (found.next()) {
          total += found.getString(2).length();
        }
      }
    }
    c.commit();
    expect(total, BLOB_TOTAL);
  }

  static void errorRecovery(Connection c) throws Exception {
    c.setAutoCommit(false);
    expectError("23505", same -> run(same, "INSERT INTO items (user_id, id, name) VALUES (?, 1, 'again')", key), c);
    expectError("25P02", same -> one(same, "SELECT 1"), c);
    c.rollback();
    expect(item(c, 1), "one");
    c.commit();
  }

  static void serverRestart(Connection c) throws Exception {
    expect(item(c, 1), "one");
    System.out.println("restart?");
    expect(ANSWERS.readLine(), "restarted");
    expect(item(c, 1), "one");
  }

  static SQLException sqlError(Throwable error) {
    for (; error != null; error = error.getCause()) {
      if (error instanceof SQLException found) {
        return found;
      }
    }
    return null;
  }

  static String line(String name, Feature feature) {
    try {
      return (name + " ok " + feature.act()).trim();
    } catch (Exception | AssertionError error) {
      SQLException sql = sqlError(error);
      String message = String.valueOf(error.getMessage()).replaceAll("\\s+", " ");
      String code = sql == null ? error.getClass().getSimpleName() : sql.getSQLState();
      return name + ("0A000".equals(code) ? " refused 0A000 " : " FAILED " + code + " ") + message;
    }
  }

  static Map<String, Feature> features() {
    Map<String, Feature> all = new LinkedHashMap<>();
    all.put("version", () -> org.postgresql.util.DriverInfo.DRIVER_VERSION);
    all.put("connect_trust", () -> selectOne(trust, ""));
    all.put("connect_scram", () -> selectOne(scram, "&sslmode=disable"));
    all.put("tls", () -> selectOne(scram, "&sslmode=require"));
    all.put("channel_binding", () -> selectOne(scram, "&sslmode=require&channelBinding=require"));
    all.put("simple_query", () -> using("&preferQueryMode=simple", PgjdbcProgram::simpleQuery));
    all.put("parameters_text", () -> using("&binaryTransfer=false", PgjdbcProgram::parametersText));
    all.put("parameters_binary", () -> using("&prepareThreshold=1", PgjdbcProgram::parametersBinary));
    all.put("prepared", PgjdbcProgram::prepared);
    all.put("pipeline", () -> using("", PgjdbcProgram::pipeline));
    all.put("transaction", () -> using("", PgjdbcProgram::transaction));
    all.put("copy_in", () -> using("", PgjdbcProgram::copyIn));
    all.put("copy_out", () -> using("", PgjdbcProgram::copyOut));
    all.put("listen_notify", () -> using("", PgjdbcProgram::listenNotify));
    all.put("cancel", () -> using("", PgjdbcProgram::cancel));
    all.put("statement_timeout", () -> using("", PgjdbcProgram::statementTimeout));
    all.put("settings", () -> using("", PgjdbcProgram::settings));
    all.put("startup_options", () -> using("&ApplicationName=drivers&currentSchema=public&options=-c%20statement_timeout=12345",
        PgjdbcProgram::startupOptions));
    all.put("types", () -> using("&prepareThreshold=1", PgjdbcProgram::types));
    all.put("large_result", () -> using("", PgjdbcProgram::largeResult));
    all.put("error_recovery", () -> using("", PgjdbcProgram::errorRecovery));
    all.put("no_key", () -> using("", c -> expect(one(c, "SELECT count(*) > 0 FROM items WHERE name = ?", "one"), true)));
    all.put("server_restart", () -> using("", PgjdbcProgram::serverRestart));
    return all;
  }

  public static void main(String[] arguments) {
    trust = arguments[0];
    scram = arguments[1];
    key = Long.parseLong(arguments[2]);
    features().forEach((name, feature) -> System.out.println(line(name, feature)));
    System.exit(0);
  }
}
