/** apache-arrow 13 declares its types for CommonJS only; its ES module is the same. */
declare module 'apache-arrow/Arrow.node' {
  type Arrow = typeof import('apache-arrow', { with: { 'resolution-mode': 'require' } });
  export const RecordBatchReader: Arrow['RecordBatchReader'];
  export const IntervalUnit: Arrow['IntervalUnit'];
  export const TimeUnit: Arrow['TimeUnit'];
  export const Type: Arrow['Type'];
}
