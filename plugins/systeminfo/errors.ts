import { defineErrors, type ErrorTable } from 'plugin-server';

/** Every error response of the plugin. */
export const errors = {
  not_measured: {
    status: 503,
    message: ({ name }: { name: string }) => `No measurement of the ${name} is available. Try again later.`,
    when: 'This part of the machine has not been measured yet, or cannot be measured.',
    remedy: 'Try again after the delay in Retry-After. If the error persists, read the warning in the log.',
  },
} satisfies ErrorTable;

export const systeminfoError = defineErrors(errors);
