import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;

/** Drives the vendor's JDBC driver; each line of stdout is a name, a tab, and what was seen. Arguments: trust store, its password, schema. */
class Jdbc {
  interface Step {
    String see() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    String schema = arguments[2];
    try (Connection connection = connect(arguments, System.getenv("DATABRICKS_TOKEN")); Statement statement = connection.createStatement()) {
      say("types", () -> types(statement));
      say("values", () -> rows(statement.executeQuery(SAMPLES)));
      say("empty", () -> rows(statement.executeQuery("select id from range(3) where id > 10")));
      say("parameters", () -> parameters(connection));
      say("many", () -> many(statement));
      statement.execute("create schema " + schema);
      statement.execute("create table " + schema + ".t (a bigint, b decimal(10,2)) using delta");
      say("tables", () -> column(connection.getMetaData().getTables(null, schema, "%", null), "TABLE_NAME"));
      say("columns", () -> columns(connection.getMetaData(), schema));
      say("batch", () -> batch(connection, schema));
      say("updated", () -> "" + statement.executeUpdate("update " + schema + ".t set b = 0 where a < 3"));
      say("rows", () -> rows(statement.executeQuery("select * from " + schema + ".t order by a")));
      say("catalogs", () -> column(connection.getMetaData().getCatalogs(), "TABLE_CAT"));
      say("error", () -> rows(statement.executeQuery("select * from nothing_here")));
      say("afterwards", () -> rows(statement.executeQuery("select 1")));
      statement.execute("drop schema " + schema + " cascade");
    }
    say("stranger", () -> connect(arguments, "wrong").getCatalog());
  }

  static final String SAMPLES = "select 9223372036854775807 as big, cast('12345678901234567890.123' as decimal(38,3)) as exact, "
      + "timestamp'2024-01-01 00:00:00.123456' as moment, date'2024-02-29' as day, array(1, 2) as list, X'00ff' as bytes, "
      + "cast('NaN' as double) as nan, cast(null as int) as nothing, true as yes, '流量' as text";

  static Connection connect(String[] arguments, String token) throws SQLException {
    String host = System.getenv("DATABRICKS_HOST").replace("https://", "");
    // The platform's certificates say nothing about revocation; the driver asks for that unless told otherwise.
    String url = "jdbc:databricks://" + host + "/default;transportMode=http;ssl=1;AuthMech=3;UseThriftClient=1;EnableTelemetry=0;CheckCertRevocation=0;"
        + "httpPath=" + System.getenv("DATABRICKS_HTTP_PATH") + ";SSLTrustStore=" + arguments[0] + ";SSLTrustStorePwd=" + arguments[1] + ";SSLTrustStoreType=PKCS12";
    Properties properties = new Properties();
    properties.put("user", "token");
    properties.put("password", token);
    return DriverManager.getConnection(url, properties);
  }

  static String types(Statement statement) throws SQLException {
    ResultSetMetaData columns = statement.executeQuery(SAMPLES).getMetaData();
    List<String> names = new ArrayList<>();
    for (int i = 1; i <= columns.getColumnCount(); i++) names.add(columns.getColumnName(i) + " " + columns.getColumnTypeName(i));
    return String.join(", ", names);
  }

  static String parameters(Connection connection) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement("select ?, ?, ?, ?, ?")) {
      statement.setLong(1, Long.MAX_VALUE);
      statement.setString(2, "x'; drop table t --");
      statement.setBigDecimal(3, new BigDecimal("12.345"));
      statement.setTimestamp(4, java.sql.Timestamp.valueOf("2024-01-01 10:00:00.5"));
      statement.setNull(5, java.sql.Types.INTEGER);
      return rows(statement.executeQuery());
    }
  }

  static String many(Statement statement) throws SQLException {
    long count = 0;
    long sum = 0;
    try (ResultSet rows = statement.executeQuery("select id, cast(id as string), cast(id as double) from range(200000)")) {
      for (; rows.next(); count++) sum += rows.getLong(1) + Long.parseLong(rows.getString(2)) - (long) rows.getDouble(3);
    }
    return count + " " + sum;
  }

  static String batch(Connection connection, String schema) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement("insert into " + schema + ".t values (?, ?)")) {
      for (int i = 1; i <= 3; i++) {
        statement.setLong(1, i);
        statement.setBigDecimal(2, new BigDecimal(i + ".50"));
        statement.addBatch();
      }
      return "" + statement.executeBatch().length;
    }
  }

  static String columns(DatabaseMetaData metadata, String schema) throws SQLException {
    List<String> seen = new ArrayList<>();
    try (ResultSet columns = metadata.getColumns(null, schema, "t", "%")) {
      while (columns.next()) seen.add(columns.getInt("ORDINAL_POSITION") + " " + columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME") + " " + columns.getInt("DATA_TYPE"));
    }
    return String.join(", ", seen);
  }

  static String column(ResultSet rows, String name) throws SQLException {
    List<String> seen = new ArrayList<>();
    while (rows.next()) seen.add(rows.getString(name));
    return String.join(", ", seen);
  }

  static String rows(ResultSet rows) throws SQLException {
    List<String> seen = new ArrayList<>();
    int width = rows.getMetaData().getColumnCount();
    while (rows.next()) {
      List<String> cells = new ArrayList<>();
      for (int i = 1; i <= width; i++) cells.add(rows.getObject(i) instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : String.valueOf(rows.getObject(i)));
      seen.add(String.join(" | ", cells));
    }
    return String.join("; ", seen);
  }

  static void say(String name, Step step) {
    String seen;
    try {
      seen = step.see();
    } catch (Exception error) {
      seen = error.getClass().getSimpleName() + ": " + error.getMessage();
    }
    System.out.println(name + "\t" + seen.replaceAll("\\s+", " "));
  }
}
