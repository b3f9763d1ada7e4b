/** Who connects, and to which database where none is named. */
export const connecting = { name: 'sessman', database: 'sessman' };
