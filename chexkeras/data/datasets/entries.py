"""Every data set that can be opened, declared once: loaders, messages, the command line and reports read it here.

Plain words, so that the command line starts without pandas.
"""

from chexkeras import findings
from chexkeras.data.datasets import correspondence
from chexkeras.data.datasets.data_set import DataSet, Option

_IMAGES = Option("images", "Folder of the images, absolute or beside the label file, where there are several.")

_VIEWS = Option("views", "Images to read: frontal (usual), lateral or all.")
_UNCERTAIN = Option(
    "uncertain",
    "What uncertain labels become: ignore (usual), zeros, ones, self_trained, or multiclass with the head three_way; "
    "Edema=ones for one finding, repeated for several.",
    values="each",
)
_BLANK = Option("blank", "What blank labels mean: negative (usual) or unknown.")

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
        _VIEWS,
        _UNCERTAIN,
        _BLANK,
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

RSNA = DataSet(
    name="RSNA's layout",
    owner="RSNA",
    loader="chexkeras.data.datasets.published.rsna:load_rsna",
    options=(_IMAGES,),
    label_files=("stage_2_train_labels.csv",),
    header=frozenset({"patientid", "x", "y", "width", "height", "target"}),
    vocabulary=correspondence.columns_of("rsna"),
    source_name="RSNA Pneumonia Detection Challenge",
    meanings="rsna",
    size="26,684 frontal images with labels, 6,012 of them with possible pneumonia",
    page="https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018",
    layouts=("Kaggle's download, DICOM", "copies as PNG or JPEG", "with RSNA's mapping to NIH's images"),
    images_of="NIH ChestX-ray14",
    image_name=r"(?P<image>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
    license="The challenge's rules: academic and non-commercial use; cite Shih et al. and the NIH Clinical Center.",
    citation="Shih et al., Radiology: Artificial Intelligence 1, 2019, e180041; images from Wang et al., CVPR 2017.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

PADCHEST = DataSet(
    name="PadChest's layout",
    owner="PadChest",
    loader="chexkeras.data.datasets.published.padchest:load_padchest",
    options=(_IMAGES, _VIEWS),
    label_files=(
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz",
    ),
    header=frozenset({"imageid", "patientid", "projection", "labels"}),
    vocabulary=("No Finding", *correspondence.columns_of("padchest")),
    source_name="PadChest",
    meanings="padchest",
    size="160,861 images of 67,625 patients in the table, 110,633 of them frontal",
    page="https://bimcv.cipf.es/bimcv-projects/padchest/",
    layouts=("as published, 16-bit PNG in folders 0 to 54", "all images in one folder"),
    image_name=r"(?P<image>\d{9,}_[\w-]+)",
    license="PadChest Dataset Research Use Agreement: research only, not to be handed on.",
    citation="Bustos et al., Medical Image Analysis 66, 2020, 101797.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

VINDR = DataSet(
    name="VinDr-CXR's layout",
    owner="VinDr-CXR",
    loader="chexkeras.data.datasets.published.vindr:load_vindr",
    options=(
        _IMAGES,
        Option(
            "agreement",
            "When a finding counts where several readers read an image: majority (usual), any, or unanimous, where "
            "other images are unknown.",
        ),
    ),
    label_files=("image_labels_train.csv", "annotations_train.csv", "train.csv"),
    header=frozenset({"imageid", "radid"}),
    by_header=True,
    folders=("annotations",),
    vocabulary=correspondence.columns_of("vindr"),
    source_name="VinDr-CXR",
    meanings="vindr",
    size="18,000 frontal images: 15,000 read by three of 17 radiologists each, 3,000 by a consensus of five",
    page="https://physionet.org/content/vindr-cxr/",
    layouts=("PhysioNet's, DICOM", "the VinBigData challenge's on Kaggle", "copies as PNG or JPEG"),
    image_name=r"(?P<image>[0-9a-f]{32})",
    license="PhysioNet Credentialed Health Data License, or the rules of the VinBigData challenge.",
    citation="Nguyen et al., Scientific Data 9, 2022, 429.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

OPENI = DataSet(
    name="Open-I's layout",
    owner="Open-I",
    loader="chexkeras.data.datasets.published.openi:load_openi",
    options=(_IMAGES, _VIEWS),
    label_files=("indiana_reports.csv", "ecgen-radiology"),
    header=frozenset({"uid", "mesh", "problems"}),
    vocabulary=("No Finding", *correspondence.columns_of("openi")),
    source_name="Open-I Indiana University",
    meanings="openi",
    size="7,470 images of 3,851 reports in the XML collection of 3,955 reports",
    page="https://openi.nlm.nih.gov/faq",
    layouts=("Open-I's XML reports with PNG or DICOM", "Kaggle's two tables with PNG"),
    image_name=r"(?:CXR(?:\d+_(?=\d+_IM))?)?(?P<image>(?P<patient>\d+)_IM-\d+(?:-\d+)*)(?:\.dcm)?",
    license="Creative Commons BY-NC-ND 4.0, as each report states.",
    citation="Demner-Fushman et al., Journal of the American Medical Informatics Association 23, 2016, 304-310.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

MIMIC = DataSet(
    name="MIMIC-CXR-JPG's layout",
    owner="MIMIC-CXR-JPG",
    loader="chexkeras.data.datasets.published.mimic:load_mimic",
    options=(
        Option("labeller", "Whose labels: chexpert (usual) or negbio."),
        _VIEWS,
        _UNCERTAIN,
        _BLANK,
    ),
    label_files=tuple(
        f"mimic-cxr-{release}-{labeller}.csv{packed}"
        for release in ("2.1.0", "2.0.0")
        for labeller in ("chexpert", "negbio")
        for packed in ("", ".gz")
    ),
    header=frozenset({"subjectid", "studyid", "cardiomegaly"}),
    vocabulary=findings.CHEXPERT14,
    source_name="MIMIC-CXR-JPG",
    size="377,110 images of 65,379 patients, as published",
    page="https://physionet.org/content/mimic-cxr-jpg/",
    layouts=("PhysioNet's, tables packed or not",),
    image_name=r"(?:p(?P<patient>\d{8})[/\\]s\d{8}[/\\])?(?P<image>[0-9a-f]{8}(?:-[0-9a-f]{8}){4})",
    license="PhysioNet Credentialed Health Data License: training and an agreement are needed, not to be handed on.",
    citation="Johnson et al., MIMIC-CXR-JPG, arXiv:1901.07042, 2019.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

SIIM = DataSet(
    name="SIIM-ACR's layout",
    owner="SIIM-ACR",
    loader="chexkeras.data.datasets.published.siim:load_siim",
    options=(_IMAGES,),
    label_files=("train-rle.csv", "stage_2_train.csv"),
    header=frozenset({"imageid", "encodedpixels"}),
    by_header=True,
    vocabulary=correspondence.columns_of("siim"),
    source_name="SIIM-ACR Pneumothorax Segmentation",
    meanings="siim",
    size="12,047 frontal images with labels, 2,669 of them with pneumothorax",
    page="https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation",
    layouts=("Kaggle's download, DICOM", "copies as PNG or JPEG"),
    images_of="NIH ChestX-ray14",
    image_name=r"(?P<image>1\.2\.276\.0\.7230010\.3\.1\.4\.[\d.]+\d|ID_[0-9a-f]{9})",
    license="The competition's rules: academic and non-commercial use; cite the NIH Clinical Center's paper.",
    citation="SIIM-ACR Pneumothorax Segmentation, 2019; Filice et al., Journal of Digital Imaging 33, 2020, 490-496.",
    phantoms="chexkeras.phantoms:make_phantoms",
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

DATA_SETS: tuple[DataSet, ...] = (NIH, CHEXPERT, RSNA, PADCHEST, VINDR, OPENI, MIMIC, SIIM, OWN_TABLE)
"""Every data set, in the order in which messages and the command line name them; a table of one's own comes last."""
