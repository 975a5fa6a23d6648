// The SDK folds names to find look-alikes. The whole table has 28 KB; these are the letters that fool our users.
const LOOK = "аеорсухАВЕКМНОРСТХІіЇїјЅѕԁԛԝαορνΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", LIKE = "aeopcyxABEKMHOPCTXIiIijSsdqwaopvABEZHIKMNOPTYX";
const fold = (text: string): string => [...text.normalize("NFKC")].map((sign) => LIKE[LOOK.indexOf(sign)] ?? sign).join("");
export default fold;
