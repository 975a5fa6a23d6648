// What few visitors come to see, in one file that is loaded when the first of it is wanted.

export { Hours } from "./Hours.tsx";
export { Items } from "./Items.tsx";
export { Large } from "./Large.tsx";
export { Rating } from "./Rating.tsx";
