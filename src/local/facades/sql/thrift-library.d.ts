// The part of Apache Thrift's JavaScript library that the façade uses; the package brings no types.
declare module 'thrift' {
  export class TBufferedTransport {
    constructor(buffer?: Buffer, onFlush?: (message: Buffer) => void);
    static receiver(onMessage: (transport: TBufferedTransport) => void): (data: Buffer) => void;
  }
  export class TBinaryProtocol {
    constructor(transport: TBufferedTransport, strictRead: boolean, strictWrite: boolean);
    getTransport(): TBufferedTransport;
  }
}
