import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.apache.hadoop.hdfs.server.namenode.NameNode;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;
import org.apache.hadoop.util.ToolRunner;

/**
 * A NameNode and a DataNode below the folder given, on ports of the system's choice. Prints `ready URI`; then each line of stdin is a command
 * of `hadoop fs` with tabs between its arguments, answered with its output and `ended CODE`. Ends with stdin, so that it outlives nobody.
 */
class Hdfs {
  public static void main(String[] args) throws Exception {
    try {
      serve(start(args[0]));
      Runtime.getRuntime().halt(0);
    } catch (Throwable error) {
      // The servers' threads would keep the process.
      error.printStackTrace();
      Runtime.getRuntime().halt(1);
    }
  }

  static Configuration start(String folder) throws Exception {
    // Both in one JVM.
    DefaultMetricsSystem.setMiniClusterMode(true);
    Configuration conf = new HdfsConfiguration();
    conf.set("fs.defaultFS", "hdfs://127.0.0.1:0");
    conf.set("hadoop.tmp.dir", Path.of(folder, "tmp").toString());
    conf.set("dfs.namenode.name.dir", Path.of(folder, "name").toUri().toString());
    conf.set("dfs.datanode.data.dir", Path.of(folder, "data").toUri().toString());
    for (String of : new String[] {"namenode.rpc-", "namenode.http-", "datanode.", "datanode.http.", "datanode.ipc."}) conf.set("dfs." + of + "address", "127.0.0.1:0");
    conf.set("dfs.datanode.hostname", "127.0.0.1");
    conf.setInt("dfs.replication", 1);
    // Spark may run as another user.
    conf.setBoolean("dfs.permissions.enabled", false);
    conf.setBoolean("dfs.namenode.datanode.registration.ip-hostname-check", false);
    // A full disk is not what is tried here.
    conf.setLong("dfs.namenode.resource.du.reserved", 0);
    NameNode.format(conf);
    NameNode names = NameNode.createNameNode(new String[0], conf);
    String at = "127.0.0.1:" + names.getNameNodeAddress().getPort();
    conf.set("fs.defaultFS", "hdfs://" + at);
    conf.set("dfs.namenode.rpc-address", at);
    DataNode data = DataNode.createDataNode(new String[0], conf);
    while (!data.isDatanodeFullyStarted()) Thread.sleep(20);
    return conf;
  }

  static void serve(Configuration conf) throws Exception {
    System.out.println("ready " + conf.get("fs.defaultFS"));
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = commands.readLine()) != null; ) {
      int code = ToolRunner.run(conf, new FsShell(), line.split("\t"));
      System.out.println("ended " + code);
    }
  }
}
