/** What every test run starts with: a deprecation that a child process meets is as fatal there as it is here. */
process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --throw-deprecation`.trim();
