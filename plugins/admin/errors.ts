import { defineErrors, type ErrorTable } from 'plugin-server';

/** Every error response of the admin page's plugin. */
export const errors = {
  page_not_built: {
    status: 503,
    message: 'The admin page is not built. Run "npm run build".',
    when: 'The files of the admin page are missing, as in a clone that was never built.',
    remedy: 'Run `npm run build`.',
  },
  bad_request: {
    status: 400,
    message: ({ problem }: { problem: string }) => `Invalid request body: ${problem}.`,
    when: "The body of a call of the admin page's API is wrong.",
    remedy: 'Correct the member that the message names.',
  },
  no_session_manager: {
    status: 404,
    message: 'This server runs without sessman, the session manager.',
    when: 'The admin page requests sessions while sessman is off or has failed.',
    remedy: 'Enable sessman, or see /plugins for why it failed.',
  },
} satisfies ErrorTable;

export const adminError = defineErrors(errors);
