// The part of Apache Thrift's JavaScript library that the façade uses; the package brings no types.
declare module 'thrift' {
  export type Transport = { write(part: Buffer): void; flush(): void; setCurrSeqId(id: number): void };
  export const TBufferedTransport: { receiver(onMessage: (transport: Transport) => void): (data: Buffer) => void };
  export class TBinaryProtocol {
    constructor(transport: Transport, strictRead: boolean, strictWrite: boolean);
    getTransport(): Transport;
  }
}
