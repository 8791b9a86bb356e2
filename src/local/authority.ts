import { execFile } from 'node:child_process';
import type { webcrypto } from 'node:crypto';
import { chmod, copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import type { X509Certificate } from '@peculiar/x509';
import { Failure } from '../errors.ts';
import type { Authority, CertificateFiles } from './contract.ts';
import { readIfThere, writeAtomic } from './state.ts';

export type AuthorityOptions = {
  /** The platform's folder for keys and certificates; mode 0700. */
  folder: string;
  /** keytool is beside it. */
  java: string;
  now?: () => Date;
};

type Signer = { certificate: X509Certificate; keys: webcrypto.CryptoKeyPair };

const DAY_MS = 86_400_000;
const validDays = { authority: 3650, certificate: 397 };
/** What expires sooner is made anew at the next start. */
const renewBeforeDays = 30;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** It protects no secret: the store holds the one public certificate. JVMs cannot read a PKCS12 store without a password. */
const trustStorePassword = 'changeit';

/** Opens the platform's certificate authority, or makes a new one where there is none or it nears its end. */
export async function openAuthority(options: AuthorityOptions): Promise<Authority & { bundleFile: string }> {
  const now = options.now ?? (() => new Date());
  const caFile = join(options.folder, 'ca.pem');
  const issuedFolder = join(options.folder, 'issued');
  const trustStoreFile = join(options.folder, 'truststore.p12');
  const publicTrustStoreFile = join(options.folder, 'truststore-public.p12');
  const bundleFile = join(options.folder, 'ca-bundle.pem');
  await mkdir(issuedFolder, { recursive: true, mode: 0o700 });
  const { signer, fresh } = await openSigner(caFile, join(options.folder, 'ca-key.pem'), now());
  if (fresh) await Promise.all([issuedFolder, trustStoreFile, publicTrustStoreFile].map((path) => rm(path, { recursive: true, force: true })));
  if ((await readIfThere(trustStoreFile)) === undefined) await makeTrustStore(options.java, caFile, trustStoreFile);
  await writeAtomic(bundleFile, [signer.certificate.toString('pem'), ...publicAuthorities()].join('\n'));
  let publicTrustStore: Promise<string> | undefined;
  const issued = new Map<string, Promise<CertificateFiles>>();
  return {
    caFile,
    trustStoreFile,
    trustStorePassword,
    publicTrustStore: () => (publicTrustStore ??= havePublicTrustStore(options.java, trustStoreFile, publicTrustStoreFile)),
    bundleFile,
    issue(commonName) {
      const known = issued.get(commonName) ?? issueFiles(signer, issuedFolder, commonName, now());
      issued.set(commonName, known);
      return known;
    },
  };
}

async function openSigner(certFile: string, keyFile: string, now: Date): Promise<{ signer: Signer; fresh: boolean }> {
  const x509 = await loadX509();
  const [certificate, key] = await Promise.all([readIfThere(certFile), readIfThere(keyFile)]);
  if (certificate !== undefined && key !== undefined && lasts(new x509.X509Certificate(certificate), now)) {
    const known = new x509.X509Certificate(certificate);
    const keys = { privateKey: await privateKeyOf(key), publicKey: await known.publicKey.export() };
    return { signer: { certificate: known, keys }, fresh: false };
  }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=streamgauge local authority ${now.toISOString().slice(0, 10)}`,
    keys,
    signingAlgorithm: algorithm,
    ...validity(now, validDays.authority),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  // The certificate last: without it the key is only a leftover.
  await writeAtomic(keyFile, await pemOfKey(keys.privateKey));
  await writeAtomic(certFile, made.toString('pem'));
  return { signer: { certificate: made, keys }, fresh: true };
}

async function issueFiles(signer: Signer, folder: string, commonName: string, now: Date): Promise<CertificateFiles> {
  // It becomes a file's name and a distinguished name.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(commonName)) throw new RangeError(`not a common name for a certificate: ${commonName}`);
  const x509 = await loadX509();
  const files = { certFile: join(folder, `${commonName}.pem`), keyFile: join(folder, `${commonName}-key.pem`) };
  const [known, key] = await Promise.all([readIfThere(files.certFile), readIfThere(files.keyFile)]);
  if (known !== undefined && key !== undefined && lasts(new x509.X509Certificate(known), now)) return files;
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const made = await x509.X509CertificateGenerator.create({
    subject: `CN=${commonName}`,
    issuer: signer.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: algorithm,
    ...validity(now, validDays.certificate),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
        { type: 'ip', value: '::1' },
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(signer.keys.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writeAtomic(files.keyFile, await pemOfKey(keys.privateKey));
  await writeAtomic(files.certFile, made.toString('pem'));
  return files;
}

/** Imported when first used: it takes 100 ms, and no other verb needs it. */
async function loadX509() {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

function lasts(certificate: X509Certificate, now: Date): boolean {
  return certificate.notAfter.getTime() - now.getTime() > renewBeforeDays * DAY_MS && certificate.notBefore <= now;
}

function validity(now: Date, days: number) {
  // An hour back: a clock that is set right later must not make it invalid.
  return { notBefore: new Date(now.getTime() - 3_600_000), notAfter: new Date(now.getTime() + days * DAY_MS) };
}

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await crypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${base64.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

function privateKeyOf(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  return crypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign']);
}

/** So that a client that trusts the bundle still reaches the public internet. */
function publicAuthorities(): string[] {
  const system = getCACertificates('system');
  // It lists a certificate once for each file that holds it.
  return system.length > 0 ? [...new Set(system)] : getCACertificates('bundled');
}

/** Java's options to trust one of its stores. */
export function trustOptions(trustStoreFile: string): string[] {
  return [`-Djavax.net.ssl.trustStore=${trustStoreFile}`, '-Djavax.net.ssl.trustStoreType=PKCS12', `-Djavax.net.ssl.trustStorePassword=${trustStorePassword}`];
}

async function makeTrustStore(java: string, caFile: string, trustStoreFile: string): Promise<void> {
  await rm(`${trustStoreFile}.new`, { force: true });
  await writtenByKeytool(java, trustStoreFile, ['-importcert', '-alias', 'streamgauge', '-file', caFile, '-keystore', `${trustStoreFile}.new`, '-storetype', 'PKCS12', '-storepass', trustStorePassword]);
}

/** That one and what this Java trusts by itself. */
async function havePublicTrustStore(java: string, trustStoreFile: string, file: string): Promise<string> {
  if ((await readIfThere(file)) !== undefined) return file;
  await copyFile(trustStoreFile, `${file}.new`);
  const known = join(dirname(java), '..', 'lib', 'security', 'cacerts');
  await writtenByKeytool(java, file, ['-importkeystore', '-srckeystore', known, '-srcstorepass', trustStorePassword, '-destkeystore', `${file}.new`, '-deststoretype', 'PKCS12', '-deststorepass', trustStorePassword]);
  return file;
}

/** Runs keytool, which writes `FILE.new`, and gives that the file's name. */
async function writtenByKeytool(java: string, file: string, args: string[]): Promise<void> {
  try {
    await promisify(execFile)(join(dirname(java), 'keytool'), ['-J-XX:TieredStopAtLevel=1', '-J-Xmx64m', ...args, '-noprompt'], { timeout: 60_000, maxBuffer: 2 ** 24 });
  } catch (cause) {
    await rm(`${file}.new`, { force: true });
    throw new Failure({ code: 'TRUST_STORE_FAILED', kind: 'unexpected', message: `keytool could not make ${file}`, hint: 'check that keytool is beside java: it is part of every JRE', cause });
  }
  await chmod(`${file}.new`, 0o600);
  await rename(`${file}.new`, file);
}
