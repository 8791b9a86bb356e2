import type { Deployed } from '../databricks/destroy.ts';

/** What takes one thing back, as plain JSON. */
export type Removal =
  | { do: 'remove deployed'; thing: Deployed }
  | { do: 'drop table'; table: string }
  | { do: 'remove checkpoints'; root: string }
  | { do: 'delete index'; index: string }
  | { do: 'delete template'; index: string }
  | { do: 'delete topic'; topic: string }
  | { do: 'forget topic'; topic: string }
  | { do: 'take rights'; user: string }
  | { do: 'delete secret'; name: string; atOnce: boolean }
  | { do: 'delete key'; alias: string }
  | { do: 'delete cluster'; name: string }
  | { do: 'delete configuration'; arn: string };
