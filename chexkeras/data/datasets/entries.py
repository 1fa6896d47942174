"""Every data set that can be opened, declared once: loaders, messages, the command line and reports read it here.

Plain words, so that the command line starts without pandas.
"""

from chexkeras import findings
from chexkeras.data.datasets.data_set import DataSet, Option

_IMAGES = Option("images", "Folder of the images, absolute or beside the label file, where there are several.")

NIH = DataSet(
    name="NIH's layout",
    owner="NIH",
    loader="chexkeras.data.datasets.nih:load_nih",
    options=(_IMAGES,),
    label_files=("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv"),
    header=frozenset({"imageindex", "findinglabels"}),
    vocabulary=findings.NIH14,
    source_name="NIH ChestX-ray14",
    size="112,120 frontal images of 30,805 patients",
    page="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    layouts=("as published", "Kaggle's twelve folders", "Kaggle's sample of 5,606 images"),
    image_name=r"(?P<image>(?P<patient>\d{8})_\d{3})",
    license="No restriction on use; name the NIH Clinical Center, link its download page and cite the paper.",
    citation="Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

CHEXPERT = DataSet(
    name="CheXpert's layout",
    owner="CheXpert",
    loader="chexkeras.data.datasets.chexpert:load_chexpert",
    options=(
        Option("part", on_command_line=False),
        Option("views", "Images to read: frontal (usual), lateral or all."),
        Option(
            "uncertain",
            "What uncertain labels become: ignore (usual), zeros, ones, self_trained, or multiclass with the head "
            "three_way; Edema=ones for one finding, repeated for several.",
            values="each",
        ),
        Option("blank", "What blank labels mean: negative (usual) or unknown."),
    ),
    label_files=("train.csv", "valid.csv"),
    header=frozenset({"path", "frontallateral"}),
    by_header=True,
    # The last holds the label files of the full-size download, which comes as four folders.
    folders=("CheXpert-v1.0", "CheXpert-v1.0-small", "CheXpert-v1.0 batch 1 (validate & csv)"),
    opens_file=False,
    vocabulary=findings.CHEXPERT14,
    source_name="CheXpert",
    size="224,316 images of 65,240 patients, as published; 223,414 images of 64,540 patients in train.csv",
    page="https://stanfordmlgroup.github.io/competitions/chexpert/",
    layouts=("full size in four batch folders", "full size in one folder", "small", "Kaggle's copies of it"),
    image_name=r"(?P<image>(?P<patient>patient\d{5})/study\d+/view\d+_(?:frontal|lateral))",
    license="Stanford University Dataset Research Use Agreement: research only, not to be handed on.",
    citation="Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison, "
    "AAAI 2019.",
    phantoms="chexkeras.phantoms:make_chexpert_phantoms",
)

OWN_TABLE = DataSet(
    name="a table of one's own",
    owner="Your own CSV",
    loader="chexkeras.data.datasets.custom:open_table",
    options=(
        _IMAGES,
        Option("image_column", "Column with the file: PNG, JPEG or DICOM.", needed=True),
        Option(
            "label_columns",
            "Columns with labels 1, 0 or blank: a,b or a=Finding,b=Finding; repeat or separate by commas.",
            values="names",
            needed=True,
        ),
        Option("patient_column", "Column that says whose image it is."),
        Option("view_column", "Column with PA or AP."),
        Option("sex_column", "Column with the sex."),
        Option("age_column", "Column with the age in years."),
        Option(
            "group_columns",
            "Further column to group images by, as NAME=COLUMN, such as manufacturer=Scanner; repeat for several.",
            values="pairs",
            singular="group_column",
        ),
        Option("separator", "The one label column lists findings in words with this between."),
    ),
)

DATA_SETS: tuple[DataSet, ...] = (NIH, CHEXPERT, OWN_TABLE)
"""Every data set, in the order in which messages and the command line name them; a table of one's own comes last."""
