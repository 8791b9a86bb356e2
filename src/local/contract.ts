import type { Hono } from 'hono';

/** Where a Spark Connect server listens; every client must send the token. */
export type SparkDoor = {
  host: string;
  port: number;
  /** `spark.connect.authenticate.token`: sent as `authorization: Bearer <token>`. */
  token: string;
};

/** A signed certificate and its key on disk, PEM, mode 0600. */
export type CertificateFiles = { certFile: string; keyFile: string };

/** The platform's certificate authority: signs server certificates (SAN localhost, 127.0.0.1) and client certificates. */
export type Authority = {
  caFile: string;
  /** PKCS12 with the CA alone, for JVMs that take `javax.net.ssl.trustStore`; its password is `trustStorePassword`. */
  trustStoreFile: string;
  trustStorePassword: string;
  /** The same with the public authorities that this Java knows, for a JVM that also talks to others: made when it is first asked for. */
  publicTrustStore(): Promise<string>;
  /** Issues (or finds again) the certificate with this common name. */
  issue(commonName: string): Promise<CertificateFiles>;
};

/** What was installed: absolute paths. */
export type Runtime = {
  java: string;
  python: string;
  sparkHome: string;
  /** Jars of the Kafka distribution, as a classpath. */
  kafkaClasspath: string;
  /** Delta and Kafka connector jars for Spark's driver class path. */
  sparkExtraClasspath: string;
  /** The Spark Connect jar, which holds the .proto files. */
  sparkConnectJar: string;
  elasticsearchHome: string;
  /** Where tasks' PyPI libraries are kept: once on this machine, for every platform of this installation. */
  librariesDir: string;
  /** Archive of the classes that Spark loads, for a faster start; undefined where this JVM makes none. */
  sparkArchive?: string;
};

/** One part of the HTTP surface: routes to mount, and what to do when the platform stops. */
export type Facade = {
  app: Hono;
  stop(): Promise<void>;
};

/** A line for the platform's own log (`.streamgauge/local/log/platform.log`), never for stdout. */
export type Log = (line: string) => void;
