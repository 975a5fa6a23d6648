// Trees of files as rooms: no client shows them.
export class MSC3089TreeSpace {}
export const DEFAULT_TREE_POWER_LEVELS_TEMPLATE = {}, TreePermissions = {};
